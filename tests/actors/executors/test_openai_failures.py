"""How a call to an OpenAI-compatible server can fail."""

from typing import Any

import pytest

from ollama_queue.actors.core.model.outcomes import Answered, Failed, Verdict
from ollama_queue.actors.core.model.tasks import TaskType
from ollama_queue.actors.executors.openai import OpenAIExecutor
from tests.support.fakes.model_server import Answer, Behaviour, FakeOllama, Stream
from tests.support.harness.executor import KEY, delta, reply_of, run, sse


@pytest.mark.parametrize(
    ("behaviour", "words", "verdict"),
    [
        (Stream(then="error"), "reported an error: the model runner has died", "retry"),
        (
            sse({"error": {"message": "no", "code": 1}}),
            "reported an error: no",
            "retry",
        ),
        (Answer(body=b'error: {"message":"no"}\n\n'), "reported an error: no", "retry"),
        (
            sse({"object": "error", "message": "no", "code": 400}),
            "reported an error: no",
            "final",
        ),
        (Stream(then="stop"), "ended its reply too early, without [DONE]", "cut"),
        (sse("{oops"), "sent invalid JSON: ", "retry"),
        (
            sse(delta("stop", tool_calls=[{"function": {"name": "f", "arguments": "{"}}])),
            "sent a tool call whose arguments are not JSON: ",
            "retry",
        ),
        (Answer(400, {"error": {"message": "too long"}}), "answered 400: too long", "final"),
        (Answer(501, b""), "answered 501: Not Implemented", "final"),
        (Answer(401, {"error": f"not {KEY}"}), "answered 401: not [key]", "final"),
    ],
)
def test_of_an_answer(
    fake: FakeOllama,
    openai: OpenAIExecutor,
    behaviour: Behaviour,
    words: str,
    verdict: str,
) -> None:
    fake.script(behaviour)

    outcome = run(openai)

    assert isinstance(outcome, Failed)
    assert outcome.error.startswith(f"llama at {fake.openai_url} {words}")
    assert outcome.verdict == verdict


@pytest.mark.parametrize(
    ("body", "words", "verdict"),
    [
        ({}, "sent 0 embeddings instead of 1", "retry"),
        ({"data": 5}, "sent invalid JSON: Expected `array | null`", "retry"),
        ({"error": {"message": "no"}}, "reported an error: no", "retry"),
    ],
)
def test_of_an_embed(
    fake: FakeOllama, openai: OpenAIExecutor, body: Any, words: str, verdict: str
) -> None:
    fake.script(Answer(body=body))

    outcome = run(openai, TaskType.EMBED, {"input": "a"})

    assert isinstance(outcome, Failed)
    assert outcome.error.startswith(f"llama at {fake.openai_url} {words}")
    assert outcome.verdict == verdict


def test_of_a_server_that_does_not_heed_dimensions(
    fake: FakeOllama, openai: OpenAIExecutor
) -> None:
    right, wrong = (run(openai, TaskType.EMBED, {"input": "a", "dimensions": n}) for n in (2, 8))

    assert isinstance(right, Answered)
    assert wrong == Failed(
        f"llama at {fake.openai_url} sent embeddings of 2 dimensions instead of 8", Verdict.FINAL
    )


def test_of_a_server_that_is_not_ready(fake: FakeOllama, openai: OpenAIExecutor) -> None:
    error = {"code": 503, "message": "Loading model", "type": "unavailable_error"}
    fake.script(
        Answer(503, {"error": error}),
        Answer(503, {"error": error}, {"Retry-After": "7"}),
        Answer(429, {"error": {"message": "slow down"}}, {"Retry-After": "20"}),
    )
    loading = f"llama at {fake.openai_url} answered 503: Loading model"

    assert [run(openai) for _ in range(3)] == [
        Failed(loading, Verdict.REFUSED, status=503),
        Failed(loading, Verdict.REFUSED, 7.0, 503),
        Failed(f"llama at {fake.openai_url} answered 429: slow down", Verdict.RETRY, 20.0, 429),
    ]


def test_of_a_task_without_counterpart_comes_before_anything_is_sent(
    fake: FakeOllama, openai: OpenAIExecutor
) -> None:
    asked = {"prompt": "p", "template": "t"}

    assert run(openai, TaskType.GENERATE, asked) == Failed(
        "template cannot be sent to an OpenAI-compatible server", Verdict.FINAL
    )
    assert fake.calls == []


@pytest.mark.parametrize("event", [{"choices": None}, {"choices": [5]}, {"usage": 5}, {}])
def test_does_not_come_from_odd_fields(
    fake: FakeOllama, openai: OpenAIExecutor, event: Any
) -> None:
    odd = delta("stop", content=5, tool_calls=[])
    fake.script(sse(event, odd))

    assert reply_of(run(openai))["message"]["content"] == ""
