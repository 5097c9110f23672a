"""Servers that refuse what the queue adds to a request: they are asked again without."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from ollama_queue.actors.core.model.outcomes import Answered, Failed
from ollama_queue.actors.core.model.tasks import Dialect, Spec, TaskType
from ollama_queue.actors.executors import Executor
from ollama_queue.actors.executors.ollama import OllamaExecutor
from ollama_queue.actors.executors.openai import OpenAIExecutor
from tests.support.fakes.model_server import Answer, Behaviour, Cut, FakeOllama, Stream
from tests.support.harness.executor import ASK, reply_of

OPTIONS, STREAM = "stream_options", "stream"
BOTH = frozenset((OPTIONS, STREAM))
COUNTED = {"include_usage": True}


def forbidden(*fields: str) -> list[dict[str, Any]]:
    words = "Extra inputs are not permitted"
    return [{"type": "extra_forbidden", "loc": ["body", f], "msg": words} for f in fields]


def refusal(message: str, param: str | None = None, status: int = 400) -> Answer:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return Answer(status, {"error": error})


NO_OPTIONS = [
    Answer(422, {"detail": forbidden(OPTIONS)}),
    Answer(422, {"object": "error", "message": {"detail": forbidden(OPTIONS)}}),
    refusal(str(forbidden(OPTIONS))),
    refusal("Unknown parameter: 'stream_options'.", OPTIONS),
    refusal("Unrecognized request argument supplied", OPTIONS),
    refusal("include_usage is not supported"),
]
NO_STREAM = [
    Answer(422, {"detail": forbidden(STREAM)}),
    refusal("Unsupported value: 'stream' does not support true with this model.", STREAM),
    refusal("Streaming is not supported", status=501),
    refusal("Cannot use tools with stream", status=500),
]


def strict(*refused: tuple[str, Answer]) -> Callable[[dict[str, Any]], Behaviour]:
    """A server that refuses these fields, the first of them that comes."""

    def answer(body: dict[str, Any]) -> Behaviour:
        return next((said for field, said in refused if field in body), Stream())

    return answer


def call(
    executor: OpenAIExecutor,
    dialect: Dialect,
    without: frozenset[str] = frozenset(),
    **payload: Any,
) -> tuple[Any, list[Any]]:
    pieces: list[Any] = []
    executor.begin()
    asking = {"input": ASK["messages"]} if dialect is Dialect.RESPONSES else ASK
    spec = Spec({**asking, **payload}, dialect=dialect)
    outcome = executor.run(TaskType.CHAT, "m", spec, pieces.append, without)
    return outcome, [json.loads(piece) for piece in pieces]


def text(outcome: Any, dialect: Dialect) -> Any:
    reply = reply_of(outcome)
    if dialect is Dialect.RESPONSES:
        return reply["output"][0]["content"][0]["text"]
    return (reply if dialect is Dialect.OLLAMA else reply["choices"][0])["message"]["content"]


def first_text(pieces: list[Any], dialect: Dialect) -> Any:
    match dialect:
        case Dialect.OLLAMA:
            return pieces[0]["message"]["content"]
        case Dialect.OPENAI:
            return pieces[0]["choices"][0]["delta"]["content"]
        case Dialect.RESPONSES:
            return next(each["delta"] for each in pieces if "delta" in each)


def asked(fake: FakeOllama) -> list[dict[str, Any]]:
    """How a stream was asked for, call by call."""
    return [{n: c.body[n] for n in (STREAM, OPTIONS) if n in c.body} for c in fake.calls]


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("said", NO_OPTIONS)
def test_one_that_refuses_the_options_of_a_stream(
    fake: FakeOllama, openai: OpenAIExecutor, said: Answer, dialect: Dialect
) -> None:
    fake.default = strict((OPTIONS, said))

    outcome, pieces = call(openai, dialect)

    assert text(outcome, dialect) == "Hello from here"
    assert len(pieces) >= 3
    assert outcome.without == {OPTIONS}
    assert asked(fake) == [{STREAM: True, OPTIONS: COUNTED}, {STREAM: True}]


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("said", NO_STREAM)
def test_one_that_does_not_stream_is_read_whole(
    fake: FakeOllama, openai: OpenAIExecutor, said: Answer, dialect: Dialect
) -> None:
    fake.default = strict((STREAM, said))

    outcome, pieces = call(openai, dialect)

    assert text(outcome, dialect) == "Hello from here"
    assert first_text(pieces, dialect) == "Hello from here"
    assert (outcome.without, outcome.prompt_tokens, outcome.reply_tokens) == ({STREAM}, 3, 3)
    assert asked(fake) == [{STREAM: True, OPTIONS: COUNTED}, {}]


def test_one_that_refuses_both(fake: FakeOllama, openai: OpenAIExecutor) -> None:
    fake.default = strict((OPTIONS, NO_OPTIONS[3]), (STREAM, NO_STREAM[1]))

    outcome, _ = call(openai, Dialect.OPENAI)

    assert outcome.without == BOTH
    assert asked(fake) == [{STREAM: True, OPTIONS: COUNTED}, {STREAM: True}, {}]
    assert fake.connections == 1


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize(
    ("without", "expected"), [({OPTIONS}, {STREAM: True}), ({STREAM}, {}), (BOTH, {})]
)
def test_what_is_known_is_not_asked_again(
    fake: FakeOllama, openai: OpenAIExecutor, dialect: Dialect, without: Any, expected: Any
) -> None:
    outcome, _ = call(openai, dialect, frozenset(without))

    assert text(outcome, dialect) == "Hello from here"
    assert outcome.without == without
    assert asked(fake) == [expected]


def test_a_whole_reply_needs_no_reason_why_it_ended(
    fake: FakeOllama, openai: OpenAIExecutor
) -> None:
    whole = Answer(body={"choices": [{"message": {"content": "hi"}}]})
    for dialect in Dialect:
        fake.script(whole)
        assert text(call(openai, dialect, frozenset({STREAM}))[0], dialect) == "hi"
        fake.script(Answer(body={"choices": []}))
        assert isinstance(call(openai, dialect, frozenset({STREAM}))[0], Failed)


def test_options_of_the_tasks_own_are_its_own(fake: FakeOllama, openai: OpenAIExecutor) -> None:
    """A server that refuses them refuses the task; without a stream they mean nothing."""
    own = {"include_obfuscation": False}
    fake.default = strict((OPTIONS, NO_OPTIONS[3]))
    outcome, _ = call(openai, Dialect.OPENAI, stream_options=own)

    assert isinstance(outcome, Failed) and "Unknown parameter" in outcome.error
    both = {STREAM: True, OPTIONS: {**own, **COUNTED}}
    assert asked(fake) == [both, {STREAM: True, OPTIONS: own}]
    assert call(openai, Dialect.OPENAI, frozenset({STREAM}), stream_options=own)[0].without
    assert asked(fake)[-1] == {}


@pytest.mark.parametrize(
    "said",
    [
        refusal("messages is missing"),
        refusal("no upstream_options here"),
        refusal("slow down: stream_options", status=429),
        refusal("stream_options", status=401),
        refusal("the stream broke", status=500),
        Cut(),
    ],
)
def test_other_failures_are_not_asked_again(
    fake: FakeOllama, openai: OpenAIExecutor, said: Behaviour
) -> None:
    fake.default = said

    outcome, _ = call(openai, Dialect.OPENAI)

    assert isinstance(outcome, Failed)
    assert len(fake.calls) == 1


def test_a_refusal_that_only_speaks_of_it_stands(fake: FakeOllama, openai: OpenAIExecutor) -> None:
    """FastAPI repeats the whole request where a field is missing."""
    wrong = {"type": "missing", "loc": ["body", "x"], "input": {STREAM: True, OPTIONS: COUNTED}}
    fake.default = Answer(422, {"detail": [wrong]})

    outcome, _ = call(openai, Dialect.OPENAI)

    assert isinstance(outcome, Failed) and "answered 422" in outcome.error
    assert len(fake.calls) == 3
    fake.default = Stream()
    answered, _ = call(openai, Dialect.OPENAI)
    assert isinstance(answered, Answered) and not answered.without


# --- events that say nothing ----------------------------------------------------------------------


@pytest.mark.parametrize("dialect", Dialect)
def test_null_and_empty_events_are_passed_over(
    fake: FakeOllama, openai: OpenAIExecutor, dialect: Dialect
) -> None:
    """llama.cpp sends `data: null` between the prompts of a list."""
    said = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n'
    fake.script(Answer(body=b"data: null\n\ndata:\n\n" + said + b"data: null\n\ndata: [DONE]\n\n"))

    outcome, pieces = call(openai, dialect)

    assert text(outcome, dialect) == "hi"
    assert None not in pieces


# --- what a task only prefers -------------------------------------------------------------------

CANNOT = [
    Answer(400, {"error": '"m" does not support thinking'}),
    Answer(400, {"error": 'invalid think value: "max" (must be "high", "medium" or "low")'}),
    refusal("Unrecognized request argument supplied: reasoning_effort"),
    refusal("Unsupported value", "reasoning_effort"),
    Answer(422, {"detail": forbidden("reasoning_effort")}),
]


def thinking(executor: Executor, *without: str, **payload: Any) -> Any:
    executor.begin()
    spec = Spec({**ASK, **payload})
    return executor.run(TaskType.CHAT, "m", spec, [].append, frozenset(without))


@pytest.mark.parametrize("said", CANNOT)
@pytest.mark.parametrize("kind", ["ollama", "openai"])
def test_a_model_that_cannot_think_answers_without_where_that_is_allowed(
    fake: FakeOllama, executor: OllamaExecutor, openai: OpenAIExecutor, kind: str, said: Answer
) -> None:
    asked_one: Executor = executor if kind == "ollama" else openai
    field = "think" if kind == "ollama" else "reasoning_effort"
    fake.default = strict((field, said))

    outcome = thinking(asked_one, prefer_think="max")

    assert reply_of(outcome)["message"]["content"] == "Hello from here"
    assert outcome.without == {field}
    assert [field in each.body for each in fake.calls] == [True, False]
    assert fake.calls[0].body[field] == {"think": "max", "reasoning_effort": "high"}[field]
    assert not any("prefer_think" in each.body for each in fake.calls)

    again = thinking(asked_one, field, prefer_think=True)
    assert isinstance(again, Answered)
    assert [field in each.body for each in fake.calls[2:]] == [False]

    refused = thinking(asked_one, field, think=True)
    assert isinstance(refused, Failed)
    assert [field in each.body for each in fake.calls[3:]] == [True]


def test_another_refusal_of_a_task_that_prefers_to_think_is_its_failure(
    fake: FakeOllama, executor: OllamaExecutor
) -> None:
    fake.default = Answer(400, {"error": '"m" does not support tools'})

    assert isinstance(thinking(executor, prefer_think=True), Failed)
    assert len(fake.calls) == 1
