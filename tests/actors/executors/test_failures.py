"""What statuses, broken connections and error bodies come to."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from ollama_queue.actors.core.model.outcomes import Failed, Verdict
from ollama_queue.actors.core.model.tasks import Upstream
from ollama_queue.actors.executors.failures import (
    failure_of_error,
    failure_of_status,
    one_line,
    retry_after_s,
    server_error,
    upstream_of,
    verdict_of_status,
)

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
WHO = "ollama at http://localhost:11434"


@pytest.mark.parametrize(
    ("verdict", "statuses"),
    [
        (Verdict.REFUSED, [503]),
        (Verdict.RETRY, [408, 425, 429, 500, 502, 504, 507, 520, 599]),
        (Verdict.FINAL, [300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 413, 422, 499, 501]),
    ],
)
def test_every_status_has_a_verdict(verdict: Verdict, statuses: list[int]) -> None:
    assert {verdict_of_status(status) for status in statuses} == {verdict}


def test_a_failure_has_the_servers_words_and_its_wish_when_to_come_back() -> None:
    body = b'{"error":"server busy, please try again.  maximum pending requests exceeded"}'

    assert failure_of_status(WHO, 503, {"retry-after": "7"}, body, NOW) == Failed(
        "ollama at http://localhost:11434 answered 503: "
        "server busy, please try again. maximum pending requests exceeded",
        Verdict.REFUSED,
        7.0,
        503,
        Upstream("server busy, please try again.  maximum pending requests exceeded"),
    )


def test_a_final_failure_has_no_time_to_come_back() -> None:
    body = b'{"error":"404 page not found"}'

    assert failure_of_status(WHO, 404, {"retry-after": "7"}, body, NOW) == Failed(
        f"{WHO} answered 404: 404 page not found",
        Verdict.FINAL,
        status=404,
        upstream=Upstream("404 page not found"),
    )


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (404, b'{"error":"model \\"x\\" not found, try pulling it first"}', Verdict.NO_MODEL),
        (404, b'{"error":"model \'x\' not found"}', Verdict.NO_MODEL),
        (404, b'{"error":{"message":"model \'x\' not found","code":404}}', Verdict.NO_MODEL),
        (404, b'{"error":{"message":"No access.","code":"model_not_found"}}', Verdict.NO_MODEL),
        (404, b'{"object":"error","message":"The model `x` does not exist."}', Verdict.NO_MODEL),
        (404, b'{"detail":"Not Found"}', Verdict.FINAL),
        (404, b'{"error":"404 page not found"}', Verdict.FINAL),
        (404, b"<html>model not found</html>", Verdict.FINAL),
        (404, b"", Verdict.FINAL),
        (400, b'{"error":"model not found"}', Verdict.FINAL),
        (500, b'{"error":"model not found"}', Verdict.RETRY),
    ],
)
def test_only_a_404_says_that_the_model_is_not_there(
    status: int, body: bytes, verdict: Verdict
) -> None:
    assert failure_of_status(WHO, status, {}, body, NOW).verdict is verdict


@pytest.mark.parametrize(("status", "words"), [(502, "Bad Gateway"), (599, "no reason given")])
def test_a_wordless_failure_has_the_statuss_name(status: int, words: str) -> None:
    assert failure_of_status(WHO, status, {}, b"", NOW).error == f"{WHO} answered {status}: {words}"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error":"text"}', "text"),
        (b'{"error":{"message":"too long","type":"x","code":400}}', "too long"),
        (b'{"error":{"code":1}}', '{"code":1}'),
        (b'{"message":"from elsewhere"}', "from elsewhere"),
        (b'{"object":"error","message":"from vLLM","code":400}', "from vLLM"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'{"detail":[{"msg":"x"}]}', '{"detail":[{"msg":"x"}]}'),
        (b'[{"error":{"code":429,"message":"from Google"}}]', "from Google"),
        (b'[1,{"error":"x"}]', '[1,{"error":"x"}]'),
        (b'{"error":""}', '{"error":""}'),
        (b" upstream\n\n  is away ", "upstream is away"),
        (b"\xff\xfe", "��"),
        (b"<html><body>502</body></html>", ""),
        (b"{}", ""),
        (b"[" * 100_000, "[" * 100_000),
    ],
)
def test_the_servers_words(body: bytes, words: str) -> None:
    said = server_error(body)

    assert (one_line(said.message) if said else "") == words


def test_an_error_field_may_be_anything() -> None:
    said = [upstream_of(error) for error in ("a  b", {"message": "c"}, {"message": 1}, 5)]

    assert [each.message for each in said] == ["a  b", "c", '{"message":1}', "5"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            {
                "message": "too long",
                "type": "invalid_request_error",
                "code": "context_length_exceeded",
                "param": "messages",
            },
            Upstream("too long", "invalid_request_error", "context_length_exceeded", "messages"),
        ),
        ({"message": "m", "code": 400, "type": None, "param": {}}, Upstream("m", code=400)),
        ({"message": "m", "code": "x" * 300, "type": True}, Upstream("m", code="x" * 256)),
    ],
)
def test_openais_fields_are_kept(error: Any, said: Upstream) -> None:
    assert upstream_of(error) == said


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 12:00:30 -0000", 30.0),
        ("Thu, 01 Jan 2026 13:00:30 +0100", 30.0),
        ("Wed, 31 Dec 2025 12:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Thu, 99 Jan 2026 99:00:00 GMT", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (
            httpx.ConnectError("connection refused"),
            Failed("no connection to http://x: connection refused", Verdict.REFUSED),
        ),
        (
            httpx.ConnectTimeout("no answer for 5 s"),
            Failed("no connection to http://x: no answer for 5 s", Verdict.REFUSED),
        ),
        (
            httpx.ReadTimeout(""),
            Failed("no byte from gpu at http://x for 300 s", Verdict.CUT),
        ),
        (
            httpx.ReadError("connection reset by peer"),
            Failed(
                "the connection to gpu at http://x broke: connection reset by peer", Verdict.CUT
            ),
        ),
        (
            httpx.LocalProtocolError("a header must be a single line"),
            Failed(
                "cannot send the request to gpu at http://x: a header must be a single line",
                Verdict.FINAL,
            ),
        ),
    ],
)
def test_every_broken_connection_has_a_verdict(
    error: httpx.TransportError, failure: Failed
) -> None:
    assert failure_of_error("gpu at http://x", "http://x", error, 300.0) == failure


def test_a_date_to_come_back_at_is_by_the_clock_of_the_server() -> None:
    said = {"retry-after": "Thu, 01 Jan 2026 12:00:30 GMT"}
    slow = {**said, "date": "Thu, 01 Jan 2026 12:00:10 GMT"}
    two_hours_later = NOW + timedelta(hours=2)

    for headers, seconds in ((slow, 20.0), ({**said, "date": "today"}, 0.0)):
        failed = failure_of_status(WHO, 429, headers, b"", two_hours_later)
        assert failed.retry_after_s == seconds
