"""Tasks that ask for a response, on both kinds of model server."""

import json
from typing import Any

import pytest

from ollama_queue.actors.core.model.outcomes import Failed, Verdict
from ollama_queue.actors.core.model.tasks import Dialect, Spec, TaskType
from ollama_queue.actors.executors import Executor
from ollama_queue.actors.executors.ollama import OllamaExecutor
from ollama_queue.actors.executors.openai import OpenAIExecutor
from tests.support.fakes.model_server import FakeOllama, Stream
from tests.support.harness.executor import call, figures, reply_of

ASKED = {"input": "hi", "instructions": "be brief", "max_output_tokens": 5, "background": True}


@pytest.fixture(params=["ollama", "openai"])
def either(
    request: pytest.FixtureRequest, executor: OllamaExecutor, openai: OpenAIExecutor
) -> Executor:
    return executor if request.param == "ollama" else openai


def ask(executor: Executor, payload: dict[str, Any]) -> tuple[Any, list[Any]]:
    chunks: list[Any] = []
    spec = Spec(payload, dialect=Dialect.RESPONSES)
    outcome = call(executor, TaskType.CHAT, spec, lambda raw: chunks.append(json.loads(raw)))
    return outcome, chunks


def test_a_response_is_a_chat_completion_whoever_gives_it(
    fake: FakeOllama, either: Executor
) -> None:
    outcome, chunks = ask(either, ASKED)

    (sent,) = fake.calls
    assert sent.path == "/v1/chat/completions"
    assert sent.body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "hi"},
        ],
        "max_tokens": 5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    result = reply_of(outcome)
    (item,) = result["output"]
    assert item["content"][0]["text"] == "Hello from here"
    assert (result["status"], result["usage"]["total_tokens"]) == ("completed", 6)
    assert result["deltas"] == [[5, 5, 5]]
    assert figures(outcome)[:2] == (3, 3)
    assert [chunk["delta"] for chunk in chunks if "delta" in chunk] == ["Hello", " from", " here"]
    assert chunks[-1] == {"type": "response.output_item.done", "output_index": 0, "item": item}


def test_a_reply_that_is_cut_off_has_no_end(fake: FakeOllama, either: Executor) -> None:
    fake.script(Stream(then="cut"))

    outcome, chunks = ask(either, ASKED)

    assert isinstance(outcome, Failed)
    assert outcome.verdict is Verdict.CUT
    assert not any("done" in chunk["type"] for chunk in chunks)


def test_a_request_that_is_no_longer_supported_fails_at_once(either: Executor) -> None:
    outcome, chunks = ask(either, {**ASKED, "tools": [{"type": "web_search"}]})

    assert (outcome.verdict, chunks) == (Verdict.FINAL, [])
    assert outcome.error.startswith("tools[0] is web_search")
