"""Tasks on an OpenAI-compatible server: the replies in Ollama's shape, and how it is ended."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from ollama_queue.actors.core.config.config import Backend
from ollama_queue.actors.core.model.outcomes import Answered, Stopped
from ollama_queue.actors.core.model.tasks import TaskType
from ollama_queue.actors.executors import create_executor
from ollama_queue.actors.executors.openai import OpenAIExecutor
from tests.support.fakes.model_server import Answer, Behaviour, FakeOllama, Hang, Stream
from tests.support.harness.executor import KEY, delta, figures, reply_of, run, sse


def settled(lines: list[Any]) -> list[Any]:
    """Without what differs from run to run, once it is seen to be right."""
    for line in lines:
        assert line["created_at"].endswith("Z")
        assert datetime.fromisoformat(line.pop("created_at")).tzinfo is not None
        assert line["model"] == "m"
        assert not line["done"] or line.pop("total_duration") > 0
        assert line.pop("eval_duration", 1) > 0
    return lines


END = {"done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 3}


class TestReply:
    def test_of_a_chat(self, fake: FakeOllama, openai: OpenAIExecutor) -> None:
        chunks: list[Any] = []
        reply = reply_of(run(openai, chunks=chunks))

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

    @pytest.mark.parametrize(
        ("timings", "told"),
        [
            ({"prompt_ms": 12.5, "predicted_ms": 40}, (12_500_000, 40_000_000)),
            ({"prompt_ms": "12", "predicted_ms": -1}, (None, None)),
            ({"prompt_ms": True, "predicted_ms": 1e300}, (None, None)),
            ([], (None, None)),
        ],
    )
    def test_has_the_times_that_llama_cpp_measures(
        self, fake: FakeOllama, openai: OpenAIExecutor, timings: Any, told: Any
    ) -> None:
        fake.script(sse(delta("stop", content="Hi"), {"choices": [], "timings": timings}))

        reply = reply_of(run(openai))

        assert (reply.get("prompt_eval_duration"), reply.get("eval_duration")) == told

    @pytest.mark.parametrize("raw", [False, True])
    def test_of_a_generate(self, fake: FakeOllama, openai: OpenAIExecutor, raw: bool) -> None:
        chunks: list[Any] = []
        reply = reply_of(run(openai, TaskType.GENERATE, {"prompt": "p", "raw": raw}, chunks))

        assert settled([reply]) == [{"model": "m", "response": "Hello from here", **END}]
        assert settled(chunks)[0] == {"model": "m", "response": "Hello", "done": False}
        assert fake.calls[0].path == ("/v1/completions" if raw else "/v1/chat/completions")

    def test_of_an_embed_is_in_the_order_of_the_input(
        self, fake: FakeOllama, openai: OpenAIExecutor
    ) -> None:
        data = [{"index": 1, "embedding": [2.5]}, {"index": 0, "embedding": [1]}]
        usage = {"prompt_tokens": 4, "total_tokens": 4}
        fake.script(Answer(body={"data": data, "usage": usage}), Answer(body={"data": data[:1]}))

        several = reply_of(run(openai, TaskType.EMBED, {"input": ["a", "b"]}))
        one = reply_of(run(openai, TaskType.EMBED, {"input": "b"}))

        assert several.pop("total_duration") > 0
        assert several == {"model": "m", "embeddings": [[1.0], [2.5]], "prompt_eval_count": 4}
        assert one.pop("total_duration") > 0
        assert one == {"model": "m", "embeddings": [[2.5]]}

    def test_that_thinks_and_calls_tools(self, fake: FakeOllama, openai: OpenAIExecutor) -> None:
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
        reply = reply_of(run(openai, chunks=chunks))

        calls = [
            {"id": "c1", "function": {"index": 0, "name": "f", "arguments": {"n": 1}}},
            {"function": {"index": 1, "name": "g", "arguments": {}}},
        ]
        message = {"role": "assistant", "content": "a", "thinking": "let me", "tool_calls": calls}
        end = {"model": "m", "done": True, "done_reason": "stop"}
        assert settled([reply]) == [{**end, "message": message}]
        said = {"role": "assistant", "content": "", "tool_calls": calls}
        assert settled(chunks)[-2:] == [
            {"model": "m", "message": said, "done": False},
            {**end, "message": {"role": "assistant", "content": ""}},
        ]
        assert [chunk["message"].get("thinking") for chunk in chunks[:3]] == ["let ", "me", None]

    def test_comes_with_its_figures(self, fake: FakeOllama, openai: OpenAIExecutor) -> None:
        fake.script(Stream(), Stream(["one"]))
        several, one = figures(run(openai)), figures(run(openai))
        embed = figures(run(openai, TaskType.EMBED, {"input": "a"}))

        assert several[:2] == (3, 3)
        assert several[2] is not None
        assert several[2] > 0
        assert one == (3, 1, None, None)
        assert embed == (3, 0, None, None)

    def test_with_logprobs(self, fake: FakeOllama, openai: OpenAIExecutor) -> None:
        event = delta(content="a")
        event["choices"][0]["logprobs"] = {"content": [{"token": "a", "logprob": -1}]}
        fake.script(sse(event, delta("length")))

        reply = reply_of(run(openai))

        assert reply["logprobs"] == [{"token": "a", "logprob": -1}]
        assert reply["done_reason"] == "length"

    @pytest.mark.parametrize(
        ("given", "read"),
        [
            (
                {"tokens": ["a"], "token_logprobs": [-1], "top_logprobs": [{"a": -1, "b": -2}]},
                {
                    "top_logprobs": [
                        {"token": "a", "logprob": -1},
                        {"token": "b", "logprob": -2},
                    ]
                },
            ),
            ({"tokens": ["a"], "token_logprobs": [-1], "top_logprobs": None}, {}),
            ({"content": [{"token": "a", "logprob": -1}]}, {}),
        ],
    )
    def test_of_a_completion_with_logprobs(
        self, fake: FakeOllama, openai: OpenAIExecutor, given: Any, read: Any
    ) -> None:
        fake.script(sse({"choices": [{"text": "a", "logprobs": given, "finish_reason": "stop"}]}))

        reply = reply_of(
            run(openai, TaskType.GENERATE, {"prompt": "p", "raw": True, "logprobs": True})
        )

        assert reply["logprobs"] == [{"token": "a", "logprob": -1, **read}]
        assert fake.calls[0].body["logprobs"] == 1

    def test_may_be_a_refusal(self, fake: FakeOllama, openai: OpenAIExecutor) -> None:
        fake.script(sse(delta(refusal="I will "), delta(refusal="not"), delta("stop")))

        assert reply_of(run(openai))["message"]["content"] == "I will not"

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
    def test_in_other_forms(self, fake: FakeOllama, openai: OpenAIExecutor, answer: Answer) -> None:
        fake.script(answer)

        assert reply_of(run(openai))["message"]["content"] == "hi"


@pytest.mark.parametrize("behaviour", [Hang(), Stream(then="hang")])
def test_abort_frees_the_server(
    fake: FakeOllama, openai: OpenAIExecutor, behaviour: Behaviour
) -> None:
    fake.script(behaviour)
    with ThreadPoolExecutor() as pool:
        running = pool.submit(run, openai)
        fake.wait_for_calls(1)
        openai.abort()

        assert running.result(5) == Stopped()
    fake.wait_for_disconnect()
    assert isinstance(run(openai), Answered)


def test_the_connection_stays_warm(fake: FakeOllama, openai: OpenAIExecutor) -> None:
    for _ in range(3):
        run(openai)

    assert fake.connections == 1


def test_is_what_an_openai_backend_gets(fake: FakeOllama) -> None:
    backend = Backend(name="llama", url=fake.openai_url, type="openai")

    assert isinstance(create_executor(backend, 5.0), OpenAIExecutor)
