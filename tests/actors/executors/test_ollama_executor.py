"""Tasks on an Ollama server: what is sent, and how the reply is put together."""

from typing import Any

from ollama_queue.actors.core.config.config import Backend
from ollama_queue.actors.core.model.outcomes import Answered, Failed, Verdict
from ollama_queue.actors.core.model.tasks import Spec, TaskType
from ollama_queue.actors.executors import create_executor
from ollama_queue.actors.executors.ollama import OllamaExecutor, request_body
from tests.support.fakes.model_server import Answer, FakeOllama, Stream
from tests.support.harness.executor import ASK, KEY, figures, ndjson, reply_of, run


class TestSending:
    def test_a_chat_streams_with_its_system_message_first(self) -> None:
        payload = {**ASK, "system": "be brief", "stream": False, "think": "low", "new": 1}

        assert request_body(TaskType.CHAT, "m", Spec(payload, {"seed": 1})) == {
            "model": "m",
            "messages": [{"role": "system", "content": "be brief"}, *ASK["messages"]],
            "stream": True,
            "think": "low",
            "new": 1,
            "options": {"seed": 1},
        }
        assert "system" in payload  # the task's own stays as it was

    def test_a_generate_keeps_its_system_and_merges_options(self) -> None:
        payload = {"prompt": "p", "system": "s", "options": {"seed": 1, "top_k": 2}}

        assert request_body(TaskType.GENERATE, "m", Spec(payload, {"seed": 3})) == {
            "model": "m",
            "prompt": "p",
            "system": "s",
            "stream": True,
            "options": {"seed": 3, "top_k": 2},
        }

    def test_an_embed_does_not_stream(self) -> None:
        spec = Spec({"input": ["a"], "truncate": False, "stream": True})

        assert request_body(TaskType.EMBED, "m", spec) == {
            "model": "m",
            "input": ["a"],
            "truncate": False,
        }

    def test_goes_to_the_kinds_own_path_with_the_key(
        self, fake: FakeOllama, executor: OllamaExecutor
    ) -> None:
        run(executor)
        run(executor, TaskType.GENERATE, {"prompt": "p"})
        run(executor, TaskType.EMBED, {"input": "a"})

        assert [call.path for call in fake.calls] == ["/api/chat", "/api/generate", "/api/embed"]
        assert {call.headers["authorization"] for call in fake.calls} == {f"Bearer {KEY}"}
        assert fake.connections == 1

    def test_fails_for_what_is_not_json(self, fake: FakeOllama, executor: OllamaExecutor) -> None:
        odd = run(executor, TaskType.GENERATE, {"prompt": object()})
        wrong = run(executor, TaskType.GENERATE, {"prompt": "p", "options": 5})

        assert odd == Failed(
            "the task cannot be sent as JSON: Encoding objects of type object is unsupported",
            Verdict.FINAL,
        )
        assert wrong == Failed("payload.options must be an object", Verdict.FINAL)
        assert fake.calls == []

    def test_logs_in_with_the_urls_user_and_never_shows_it(self, fake: FakeOllama) -> None:
        url = fake.url.replace("//", "//me:pass%20word@") + "/"
        executor = OllamaExecutor(Backend(name="ollama", url=url), 5.0)
        fake.script(Answer(404))

        assert run(executor) == Failed(
            f"ollama at {fake.url} answered 404: Not Found", Verdict.FINAL, status=404
        )
        assert fake.calls[0].headers["authorization"] == "Basic bWU6cGFzcyB3b3Jk"
        executor.close()


class TestReply:
    def test_of_a_chat(self, fake: FakeOllama, executor: OllamaExecutor) -> None:
        chunks: list[Any] = []
        reply = reply_of(run(executor, chunks=chunks))

        assert reply == {
            "model": "m",
            "created_at": "2026-01-01T00:00:00Z",
            "message": {"role": "assistant", "content": "Hello from here"},
            "done": True,
            "done_reason": "stop",
            "total_duration": 5000,
            "load_duration": 1000,
            "prompt_eval_count": 3,
            "eval_count": 3,
            "eval_duration": 2000,
        }
        assert [chunk["message"]["content"] for chunk in chunks] == ["Hello", " from", " here", ""]
        assert [chunk["done"] for chunk in chunks] == [False, False, False, True]

    def test_of_a_chat_that_thinks_and_calls_tools(
        self, fake: FakeOllama, executor: OllamaExecutor
    ) -> None:
        calls = [{"function": {"index": i, "name": "f", "arguments": {"n": i}}} for i in (0, 1)]
        fake.script(
            ndjson(
                {"message": {"role": "assistant", "content": "", "thinking": "let "}},
                {"message": {"role": "assistant", "content": "", "thinking": "me"}},
                {"message": {"role": "assistant", "content": "a", "tool_calls": calls[:1]}},
                {"message": {"content": "b", "images": ["x"]}, "logprobs": [{"token": "a"}]},
                {"message": {"content": "", "tool_calls": calls[1:]}, "logprobs": [{"token": "b"}]},
                {"message": {"role": "assistant", "content": ""}, "done": True, "eval_count": 4},
            )
        )

        assert reply_of(run(executor)) == {
            "message": {
                "role": "assistant",
                "content": "ab",
                "thinking": "let me",
                "tool_calls": calls,
            },
            "logprobs": [{"token": "a"}, {"token": "b"}],
            "done": True,
            "eval_count": 4,
        }

    def test_of_a_generate(self, fake: FakeOllama, executor: OllamaExecutor) -> None:
        fake.script(
            ndjson(
                {"response": "", "thinking": "hm"},
                {"response": "a", "logprobs": [1]},
                {"response": "b", "logprobs": [2]},
                {"response": "", "done": True, "context": [1, 2]},
            )
        )

        assert reply_of(run(executor, TaskType.GENERATE, {"prompt": "p"})) == {
            "response": "ab",
            "thinking": "hm",
            "logprobs": [1, 2],
            "done": True,
            "context": [1, 2],
        }

    def test_of_an_embed_is_the_body(self, fake: FakeOllama, executor: OllamaExecutor) -> None:
        body = b'{"model": "m", "embeddings": [[0.10, 1e5]]}'
        fake.script(Answer(body=body + b"\n"))

        assert run(executor, TaskType.EMBED, {"input": "a"}) == Answered(body)

    def test_comes_with_its_figures(self, fake: FakeOllama, executor: OllamaExecutor) -> None:
        odd = {"done": True, "prompt_eval_count": "3", "eval_count": -1, "eval_duration": True}
        fake.script(Stream(), ndjson(odd))
        chat, strange = run(executor), run(executor)
        embed = run(executor, TaskType.EMBED, {"input": "a"})

        assert figures(chat) == (3, 3, 2e-6, 1e-6)
        assert figures(strange) == (0, 0, None, None)
        assert figures(embed) == (3, 0, None, 1e-6)

    def test_of_a_server_that_does_not_stream(
        self, fake: FakeOllama, executor: OllamaExecutor
    ) -> None:
        whole = {"message": {"role": "assistant", "content": "all of it"}, "done": True}
        fake.script(Answer(body=whole))

        assert reply_of(run(executor)) == whole

    def test_may_have_odd_fields(self, fake: FakeOllama, executor: OllamaExecutor) -> None:
        fake.script(ndjson({"message": "x"}, {"logprobs": 5}, {"message": None, "done": True}))

        assert reply_of(run(executor))["message"] == {"role": "assistant", "content": ""}


def test_is_what_an_ollama_backend_gets(fake: FakeOllama) -> None:
    executor = create_executor(Backend(name="ollama", url=fake.url), 5.0)

    assert isinstance(executor, OllamaExecutor)
