"""Tasks on an OpenAI-compatible server: the replies in Ollama's shape, and what can go wrong."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from ollama_queue.actors.core.config import Backend
from ollama_queue.actors.core.outcomes import Answered, Failed, Stopped, Verdict
from ollama_queue.actors.core.records import Spec, TaskType
from ollama_queue.actors.executors import create_executor
from ollama_queue.actors.executors.openai import OpenAIExecutor
from tests.executors.calling import KEY, figures, reply_of, run
from tests.fakes import Answer, Behaviour, FakeOllama, Hang, Stream


@pytest.fixture
def executor(fake: FakeOllama) -> Iterator[OpenAIExecutor]:
    backend = Backend(name="llama", url=fake.openai_url, type="openai", api_key=KEY)
    made = OpenAIExecutor(backend, 5.0)
    yield made
    made.close()


def sse(*events: Any, done: bool = True) -> Answer:
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    body = "".join(f"data: {text}\n\n" for text in [*texts, *(["[DONE]"] if done else [])])
    return Answer(body=body.encode(), headers={"Content-Type": "text/event-stream"})


def delta(finish: str | None = None, **said: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": said, "finish_reason": finish}]}


def settled(lines: list[Any]) -> list[Any]:
    """Without what differs from run to run, once it is seen to be right."""
    for line in lines:
        assert line["created_at"].endswith("Z")
        assert datetime.fromisoformat(line.pop("created_at")).tzinfo is not None
        assert line["model"] == "m"
        assert not line["done"] or line.pop("total_duration") > 0
    return lines


END = {"done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 3}


class TestReply:
    def test_of_a_chat(self, fake: FakeOllama, executor: OpenAIExecutor) -> None:
        chunks: list[Any] = []
        reply = reply_of(run(executor, chunks=chunks))

        def line(text: str, **more: Any) -> dict[str, Any]:
            message = {"role": "assistant", "content": text}
            return {"model": "m", "message": message, **(more or {"done": False})}

        assert settled(chunks) == [
            line("Hello"),
            line(" from"),
            line(" here"),
            line("", **END),
        ]
        assert settled([reply]) == [line("Hello from here", **END)]
        assert fake.calls[0].headers["authorization"] == f"Bearer {KEY}"

    @pytest.mark.parametrize("raw", [False, True])
    def test_of_a_generate(self, fake: FakeOllama, executor: OpenAIExecutor, raw: bool) -> None:
        chunks: list[Any] = []
        reply = reply_of(run(executor, TaskType.GENERATE, {"prompt": "p", "raw": raw}, chunks))

        assert settled([reply]) == [{"model": "m", "response": "Hello from here", **END}]
        assert settled(chunks)[0] == {"model": "m", "response": "Hello", "done": False}
        assert fake.calls[0].path == ("/v1/completions" if raw else "/v1/chat/completions")

    def test_of_an_embed_is_in_the_order_of_the_input(
        self, fake: FakeOllama, executor: OpenAIExecutor
    ) -> None:
        data = [{"index": 1, "embedding": [2.5]}, {"index": 0, "embedding": [1]}]
        usage = {"prompt_tokens": 4, "total_tokens": 4}
        fake.script(Answer(body={"data": data, "usage": usage}), Answer(body={"data": data[:1]}))

        first, second = (
            reply_of(run(executor, TaskType.EMBED, {"input": ["a", "b"]})) for _ in range(2)
        )
        assert first == {"model": "m", "embeddings": [[1.0], [2.5]], "prompt_eval_count": 4}
        assert second == {"model": "m", "embeddings": [[2.5]]}

    def test_that_thinks_and_calls_tools(self, fake: FakeOllama, executor: OpenAIExecutor) -> None:
        def call(index: int, **function: str) -> dict[str, Any]:
            return {"index": index, "function": function}

        first = {"id": "c1", **call(0, name="f", arguments="")}
        fake.script(
            sse(
                delta(role="assistant", content=None),
                delta(reasoning_content="let "),
                delta(reasoning="me"),
                delta(content="a"),
                delta(tool_calls=[first]),
                delta(tool_calls=[call(0, arguments='{"n"')]),
                delta(tool_calls=[call(0, arguments=":1}"), call(1, name="g")]),
                delta("tool_calls"),
            )
        )
        chunks: list[Any] = []
        reply = reply_of(run(executor, chunks=chunks))

        calls = [
            {"id": "c1", "function": {"index": 0, "name": "f", "arguments": {"n": 1}}},
            {"function": {"index": 1, "name": "g", "arguments": {}}},
        ]
        message = {"role": "assistant", "content": "a", "thinking": "let me", "tool_calls": calls}
        end = {"model": "m", "done": True, "done_reason": "stop"}
        assert settled([reply]) == [{**end, "message": message}]
        said = {"role": "assistant", "content": "", "tool_calls": calls}
        assert settled(chunks)[-1] == {**end, "message": said}
        assert [chunk["message"].get("thinking") for chunk in chunks[:3]] == ["let ", "me", None]

    def test_comes_with_its_figures(self, fake: FakeOllama, executor: OpenAIExecutor) -> None:
        fake.script(Stream(), Stream(["one"]))
        several, one = figures(run(executor)), figures(run(executor))
        embed = figures(run(executor, TaskType.EMBED, {"input": "a"}))

        assert several[:2] == (3, 3)
        assert several[2] is not None
        assert several[2] > 0
        assert one == (3, 1, None, None)
        assert embed == (3, 0, None, None)

    def test_with_logprobs(self, fake: FakeOllama, executor: OpenAIExecutor) -> None:
        event = delta(content="a")
        event["choices"][0]["logprobs"] = {"content": [{"token": "a", "logprob": -1}]}
        fake.script(sse(event, delta("length")))

        reply = reply_of(run(executor))

        assert reply["logprobs"] == [{"token": "a", "logprob": -1}]
        assert reply["done_reason"] == "length"

    @pytest.mark.parametrize(
        "answer",
        [
            sse(delta("stop", content="hi"), done=False),
            sse(delta(content="hi")),
            Answer(
                body=b': wait\n\nevent: x\r\ndata:{"choices":[{"text":"hi"}]}\r\n\r\ndata: [DONE]'
            ),
            Answer(body={"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}),
            Answer(body=b'{\n"choices": [{"text": "hi",\n"finish_reason": "stop"}]\n}\n'),
        ],
    )
    def test_in_other_forms(
        self, fake: FakeOllama, executor: OpenAIExecutor, answer: Answer
    ) -> None:
        fake.script(answer)

        assert reply_of(run(executor))["message"]["content"] == "hi"


class TestFailure:
    @pytest.mark.parametrize(
        ("behaviour", "words", "verdict"),
        [
            (Stream(then="error"), "reported an error: the model runner has died", "same_is_final"),
            (
                sse({"error": {"message": "no", "code": 1}}),
                "reported an error: no",
                "same_is_final",
            ),
            (Answer(body=b'error: {"message":"no"}\n\n'), "reported an error: no", "same_is_final"),
            (Stream(then="stop"), "ended its reply too early, without [DONE]", "retry"),
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
        self,
        fake: FakeOllama,
        executor: OpenAIExecutor,
        behaviour: Behaviour,
        words: str,
        verdict: str,
    ) -> None:
        fake.script(behaviour)

        outcome = run(executor)

        assert isinstance(outcome, Failed)
        assert outcome.error.startswith(f"llama at {fake.openai_url} {words}")
        assert outcome.verdict == verdict

    @pytest.mark.parametrize(
        ("body", "words", "verdict"),
        [
            ({}, "sent no embeddings", "retry"),
            ({"data": 5}, "sent invalid JSON: Expected `array | null`", "retry"),
            ({"error": {"message": "no"}}, "reported an error: no", "same_is_final"),
        ],
    )
    def test_of_an_embed(
        self, fake: FakeOllama, executor: OpenAIExecutor, body: Any, words: str, verdict: str
    ) -> None:
        fake.script(Answer(body=body))

        outcome = run(executor, TaskType.EMBED, {"input": "a"})

        assert isinstance(outcome, Failed)
        assert outcome.error.startswith(f"llama at {fake.openai_url} {words}")
        assert outcome.verdict == verdict

    def test_of_a_task_without_counterpart_comes_before_anything_is_sent(
        self, fake: FakeOllama, executor: OpenAIExecutor
    ) -> None:
        executor.begin()
        spec = Spec({"prompt": "p"}, {"num_ctx": 8})

        assert executor.run(TaskType.GENERATE, "m", spec, print) == Failed(
            "options.num_ctx cannot be sent to an OpenAI-compatible server", Verdict.FINAL
        )
        assert fake.calls == []

    @pytest.mark.parametrize("event", [{"choices": None}, {"choices": [5]}, {"usage": 5}, {}])
    def test_does_not_come_from_odd_fields(
        self, fake: FakeOllama, executor: OpenAIExecutor, event: Any
    ) -> None:
        odd = delta("stop", content=5, tool_calls=[])
        fake.script(sse(event, odd))

        assert reply_of(run(executor))["message"]["content"] == ""


@pytest.mark.parametrize("behaviour", [Hang(), Stream(then="hang")])
def test_abort_frees_the_server(
    fake: FakeOllama, executor: OpenAIExecutor, behaviour: Behaviour
) -> None:
    fake.script(behaviour)
    with ThreadPoolExecutor() as pool:
        running = pool.submit(run, executor)
        fake.wait_for_calls(1)
        executor.abort()

        assert running.result(5) == Stopped()
    fake.wait_for_disconnect()
    assert isinstance(run(executor), Answered)


def test_the_connection_stays_warm(fake: FakeOllama, executor: OpenAIExecutor) -> None:
    for _ in range(3):
        run(executor)

    assert fake.connections == 1


def test_is_what_an_openai_backend_gets(fake: FakeOllama) -> None:
    backend = Backend(name="llama", url=fake.openai_url, type="openai")

    assert isinstance(create_executor(backend, 5.0), OpenAIExecutor)
