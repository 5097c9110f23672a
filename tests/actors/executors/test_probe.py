"""What a look at a model server finds, and how it goes wrong."""

from collections.abc import Iterator
from typing import Any

import pytest

from ollama_queue.actors.core.config.config import Backend
from ollama_queue.actors.core.model.outcomes import Failed, ProbeResult, Upstream, Verdict
from ollama_queue.actors.executors import Executor, create_executor, http_executor
from ollama_queue.actors.executors.openai import OpenAIExecutor
from tests.support.fakes.dialects import MODELS
from tests.support.fakes.model_server import Answer, FakeOllama, Hang
from tests.support.harness.executor import KEY


@pytest.fixture
def ollama(fake: FakeOllama) -> Iterator[Executor]:
    made = create_executor(Backend(name="gpu", url=fake.url, api_key=KEY), 5.0)
    yield made
    made.close()


class TestAtOllama:
    def test_finds_its_models_and_those_in_memory(self, fake: FakeOllama, ollama: Executor) -> None:
        fake.lists("a", "b:8b", "hf.co/c/d:latest", loaded=["a"])

        assert ollama.probe() == ProbeResult(
            version="0.9.3",
            models=frozenset({"a", "b:8b", "hf.co/c/d"}),
            loaded=frozenset({"a"}),
        )
        assert fake.probes == ["/api/tags", "/api/ps", "/api/version"]
        assert fake.connections == 1

    def test_finds_a_copy_in_memory_with_its_original(
        self, fake: FakeOllama, ollama: Executor
    ) -> None:
        digests = {"a:latest": "1", "b:latest": "1", "c:latest": "2", "d:latest": ""}
        listed = [{"name": name, "digest": digest} for name, digest in digests.items()]
        fake.facts["/api/tags"] = Answer(body={"models": listed})
        fake.facts["/api/ps"] = Answer(body={"models": [listed[0], {"name": "gone:latest"}]})

        assert ollama.probe().loaded == frozenset({"a", "b", "gone"})

    def test_may_find_nothing(self, fake: FakeOllama, ollama: Executor) -> None:
        fake.facts["/api/tags"] = fake.facts["/api/ps"] = Answer(body={"models": None})

        assert ollama.probe() == ProbeResult(version="0.9.3", models=frozenset())

    @pytest.mark.parametrize("answer", [Answer(404), Answer(500), Answer(body=b"<html>")])
    def test_needs_no_more_than_the_list(
        self, fake: FakeOllama, ollama: Executor, answer: Answer
    ) -> None:
        fake.facts["/api/version"] = fake.facts["/api/ps"] = answer

        assert ollama.probe() == ProbeResult(models=frozenset(MODELS))

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (Answer(404, {"error": "no page"}), "answered 404: no page"),
            (Answer(401, {"error": f"not {KEY}"}), "answered 401: not [key]"),
            (Answer(body=b"<html>"), "sent invalid JSON: JSON is malformed: invalid character"),
            (Answer(body={"models": [5]}), "sent invalid JSON: Expected `object`, got `int`"),
        ],
    )
    def test_says_what_is_wrong(
        self, fake: FakeOllama, ollama: Executor, answer: Answer, words: str
    ) -> None:
        fake.facts["/api/tags"] = answer

        error = ollama.probe().error

        assert error is not None
        assert error.startswith(f"gpu at {fake.url} {words}")

    def test_an_answer_without_a_list_says_nothing_of_models(
        self, fake: FakeOllama, ollama: Executor
    ) -> None:
        fake.facts["/api/tags"] = Answer(body={"what": "a list?"})
        assert ollama.probe().models is None

        fake.facts["/api/tags"] = Answer(body={"models": None})
        assert ollama.probe().models == frozenset()

    def test_gives_up_in_time(
        self, fake: FakeOllama, ollama: Executor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http_executor, "PROBE_S", 0.2)
        fake.facts["/api/tags"] = Hang()

        assert ollama.probe() == ProbeResult(error=f"no answer from gpu at {fake.url} within 0.2 s")

    def test_gives_up_on_connecting_in_time(
        self, full_port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http_executor, "PROBE_S", 0.2)
        url = f"http://127.0.0.1:{full_port}"
        executor = create_executor(Backend(name="gpu", url=url), 5.0)

        assert executor.probe() == ProbeResult(error=f"no answer from gpu at {url} within 0.2 s")

    def test_hears_how_long_to_wait(self, fake: FakeOllama, ollama: Executor) -> None:
        fake.facts["/api/tags"] = Answer(503, {"error": "busy"}, {"Retry-After": "7"})

        assert ollama.probe() == ProbeResult(
            error=f"gpu at {fake.url} answered 503: busy", retry_after_s=7.0
        )


class TestConsulting:
    """A call that is no task, on a connection of its own."""

    def test_brings_the_answer_as_it_is(self, fake: FakeOllama, ollama: Executor) -> None:
        fake.facts["/api/show"] = Answer(body=b'{"a": 1}')

        assert ollama.request("/api/show", {"model": "m"}, 5.0) == b'{"a": 1}'
        assert ollama.request("/api/version", None, 5.0) == b'{"version": "0.9.3"}'

    def test_brings_why_there_is_none(self, fake: FakeOllama, ollama: Executor) -> None:
        fake.facts["/api/show"] = Answer(404, {"error": f"no model {KEY}"})
        fake.facts["/api/ps"] = Hang()

        assert ollama.request("/api/show", {"model": "m"}, 5.0) == Failed(
            f"gpu at {fake.url} answered 404: no model [key]",
            Verdict.FINAL,
            status=404,
            upstream=Upstream("no model [key]"),
        )
        late = f"no answer from gpu at {fake.url} within 0.2 s"
        assert ollama.request("/api/ps", None, 0.2) == Failed(
            late,
            Verdict.RETRY,
            upstream=Upstream("no answer from the model server within 0.2 s"),
        )
        fake.refuse()
        gone = f"no connection to {fake.url}: connection refused"
        assert ollama.request("/api/ps", None, 5.0) == Failed(
            gone,
            Verdict.REFUSED,
            upstream=Upstream("no connection to the model server: connection refused"),
        )


class TestAtOpenAI:
    def test_finds_its_models(self, fake: FakeOllama, openai: OpenAIExecutor) -> None:
        fake.lists("a", "b:latest", loaded=["a"])

        spelled = {"b": "b:latest"}
        assert openai.probe() == ProbeResult(models=frozenset({"a", "b"}), spelled=spelled)
        assert fake.probes == ["/v1/models"]

    @pytest.mark.parametrize(
        ("body", "models"),
        [
            ([{"id": "a"}, {"id": "b"}], {"a", "b"}),
            ({"object": "list", "data": None}, set()),
            ({"object": "list", "data": []}, set()),
        ],
    )
    def test_finds_them_in_other_forms(
        self, fake: FakeOllama, openai: OpenAIExecutor, body: Any, models: set[str]
    ) -> None:
        fake.facts["/v1/models"] = Answer(body=body)

        assert openai.probe() == ProbeResult(models=frozenset(models))

    @pytest.mark.parametrize("status", [404, 405])
    def test_does_not_need_a_list(
        self, fake: FakeOllama, openai: OpenAIExecutor, status: int
    ) -> None:
        fake.facts["/v1/models"] = Answer(status)

        assert openai.probe() == ProbeResult()

    def test_says_what_is_wrong(self, fake: FakeOllama, openai: OpenAIExecutor) -> None:
        fake.facts["/v1/models"] = Answer(429, {"error": {"message": f"{KEY} asks too often"}})

        error = f"llama at {fake.openai_url} answered 429: [key] asks too often"
        assert openai.probe() == ProbeResult(error=error)
