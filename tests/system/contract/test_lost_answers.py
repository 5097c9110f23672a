"""What the clients make of an answer that is lost on its way."""

import asyncio
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest

from ollama_queue import AsyncClient, Client, OutcomeUnknown, Unavailable, generate_task
from ollama_queue.http.clients import protocol
from tests.support.fakes.raw_http import Script

TAKEN = b'{"task_id": "1", "status": "pending", "position": 0}'
CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%s" % (len(TAKEN), TAKEN)
NEW = generate_task("m", "hi")


def over_client(url: str, verb: str, *args: Any, **more: Any) -> Any:
    with Client(url) as client:
        return getattr(client, verb)(*args, **more)


def over_async_client(url: str, verb: str, *args: Any, **more: Any) -> Any:
    async def run() -> Any:
        async with AsyncClient(url) as client:
            return await getattr(client, verb)(*args, **more)

    return asyncio.run(run())


both = pytest.mark.parametrize("call", [over_client, over_async_client])
Call = Callable[..., Any]


class Requests:
    """What came in; each is answered with these bytes, none of them is a connection cut. Then
    nobody listens any more."""

    def __init__(self, *answers: bytes) -> None:
        self.seen: list[bytes] = []
        self._count = len(answers)
        self.script = Script(*[self._serve(answer) for answer in answers])

    def _serve(self, answer: bytes) -> Callable[[socket.socket], None]:
        def serve(peer: socket.socket) -> None:
            self.seen.append(peer.recv(65536))
            if len(self.seen) == self._count:
                self.script._listener.close()
            if answer:
                peer.sendall(answer)

        return serve

    def keys(self) -> list[bytes]:
        return re.findall(rb"(?im)^idempotency-key: (\w+)\r$", b"".join(self.seen))


@both
def test_a_submit_is_repeated_with_its_own_key(call: Call) -> None:
    requests = Requests(b"", b"", CREATED)
    with requests.script:
        assert call(requests.script.url, "submit_task", NEW) == "1"

    keys = requests.keys()
    assert (len(keys), len(set(keys))) == (3, 1)


CRON = {"name": "n", "cron_expr": "@daily", "task_template": {"type": "embed", "model": "m"}}
FOUND = b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"id": "1"}'


@both
@pytest.mark.parametrize("what", ["update", "keep"])
def test_a_cron_by_name_is_repeated(call: Call, what: str) -> None:
    requests = Requests(b"", FOUND)
    with requests.script:
        assert call(requests.script.url, "add_cron_task", CRON, if_exists=what) == "1"
    assert [f"?if_exists={what} ".encode() in each for each in requests.seen] == [True, True]


@both
@pytest.mark.parametrize("what", [None, "error"])
def test_one_that_could_be_added_twice_is_not(call: Call, what: str | None) -> None:
    requests = Requests(b"", FOUND)
    with requests.script, pytest.raises(OutcomeUnknown):
        call(requests.script.url, "add_cron_task", CRON, if_exists=what)
    assert len(requests.seen) == 1


@both
def test_a_batch_is_repeated_too(call: Call) -> None:
    body = b'{"batch_id": "b", "task_ids": ["1", "2"]}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    requests = Requests(b"", answer)
    with requests.script:
        made = call(requests.script.url, "submit_batch", [NEW, NEW])

    assert (made.task_ids, made.created) == (["1", "2"], False)
    assert len(set(requests.keys())) == 1


@both
def test_what_may_be_done_twice_is_not_repeated(call: Call) -> None:
    requests = Requests(b"", CREATED)
    with requests.script, pytest.raises(OutcomeUnknown, match="was lost"):
        call(requests.script.url, "cancel_task", "1")

    assert len(requests.seen) == 1


@both
def test_a_server_that_stays_away_leaves_the_outcome_unknown(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first answer was lost, and then nobody is there who knows what became of it."""
    monkeypatch.setattr(protocol, "SUBMIT_PATIENCE_S", 0.3)
    requests = Requests(b"")
    with requests.script, pytest.raises(OutcomeUnknown, match="was lost"):
        call(requests.script.url, "submit_task", NEW)


@both
def test_nobody_there_is_said_at_once(call: Call) -> None:
    with pytest.raises(Unavailable, match="is ollama-queue-server running") as away:
        call("127.0.0.1:1", "submit_task", NEW)
    assert not isinstance(away.value, OutcomeUnknown)


@both
@pytest.mark.parametrize("answer", [b"<html>", b'{"task_id": 3}'])
def test_what_is_no_queue_is_said(call: Call, answer: bytes) -> None:
    head = b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n" % len(answer)
    requests = Requests(head + answer)
    with (
        requests.script,
        pytest.raises(Unavailable, match="not from a queue server of this version"),
    ):
        call(requests.script.url, "submit_task", NEW)
