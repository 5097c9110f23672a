"""Runs one call through an executor, and returns its outcome."""

import json
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from ollama_queue.actors.core.model.outcomes import Answered, Failed, Outcome
from ollama_queue.actors.core.model.tasks import Spec, TaskType
from ollama_queue.actors.executors import Executor
from tests.support.fakes.model_server import Answer

ASK = {"messages": [{"role": "user", "content": "hi"}]}
KEY = "sk-very-secret"


def run(
    executor: Executor,
    kind: TaskType = TaskType.CHAT,
    payload: dict[str, Any] = ASK,
    chunks: list[Any] | None = None,
) -> Outcome:
    """Run a call; its outcome without a failure's `upstream`, which `test_upstream` tests."""
    seen: list[Any] = [] if chunks is None else chunks
    outcome = call(executor, kind, Spec(payload), lambda raw: seen.append(json.loads(raw)))
    return replace(outcome, upstream=None) if isinstance(outcome, Failed) else outcome


def call(
    executor: Executor, kind: TaskType, spec: Spec, on_chunk: Callable[[bytes], None] = print
) -> Outcome:
    executor.begin()
    return executor.run(kind, "m", spec, on_chunk)


def reply_of(outcome: Outcome) -> Any:
    assert isinstance(outcome, Answered), outcome
    return json.loads(outcome.result)


def figures(outcome: Outcome) -> tuple[int, int, float | None, float | None]:
    assert isinstance(outcome, Answered), outcome
    return outcome.prompt_tokens, outcome.reply_tokens, outcome.reply_s, outcome.load_s


def ndjson(*objects: Any) -> Answer:
    body = b"".join(json.dumps(line).encode() + b"\n" for line in objects)
    return Answer(body=body, headers={"Content-Type": "application/x-ndjson"})


def sse(*events: Any, done: bool = True) -> Answer:
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    body = "".join(f"data: {text}\n\n" for text in [*texts, *(["[DONE]"] if done else [])])
    return Answer(body=body.encode(), headers={"Content-Type": "text/event-stream"})


def delta(finish: str | None = None, **said: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": said, "finish_reason": finish}]}
