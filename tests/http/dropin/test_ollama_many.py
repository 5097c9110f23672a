"""Ollama's routes before several model servers, of which not all are Ollama's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ollama_queue import Config, QueueManager
from ollama_queue.actors.core.config import config
from ollama_queue.actors.core.config.config import Backend
from tests.support.fakes.model_server import Answer, FakeOllama
from tests.support.harness.app import client

LOADED = {"model": "m", "done": True, "done_reason": "load"}


class OllamaFleet:
    """A queue before two Ollamas and one other server, and a client of its routes."""

    def __init__(self, folder: Path, **pinned: list[str]) -> None:
        self.one = FakeOllama().lists("both", "one", loaded=["one"])
        self.two = FakeOllama().lists("both", "two:8b", loaded=["two:8b"])
        self.other = FakeOllama().lists("gpt")
        for fake, version in ((self.one, "0.12.0"), (self.two, "0.9.3")):
            fake.facts["/api/version"] = Answer(body={"version": version})
            fake.facts["/api/show"] = Answer(body={"modelfile": version})
            fake.default = Answer(body=LOADED)
        urls = {"one": self.one.url, "two": self.two.url}
        backends = [
            Backend(name=name, url=url, parallel=1, models=pinned.get(name, []))
            for name, url in urls.items()
        ]
        backends.append(Backend(name="other", type="openai", url=self.other.openai_url))
        queue = config.QueueSettings(storage_path=str(folder))
        self.queue = QueueManager(Config(backends=backends, queue=queue)).start()
        self.queue.probe_backends()
        self.http = client(self.queue)

    def get(self, path: str) -> Any:
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def names(self, path: str) -> list[str]:
        return [each["name"] for each in self.get(path)["models"]]

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.http.post(path, json=body)

    def calls(self) -> list[int]:
        return [len(fake.calls) for fake in (self.one, self.two, self.other)]

    def close(self) -> None:
        self.queue.close(grace_s=0)
        for fake in (self.one, self.two, self.other):
            fake.refuse()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[OllamaFleet]:
    made = OllamaFleet(tmp_path)
    yield made
    made.close()


# --- lists --------------------------------------------------------------------------------------


def test_models_of_all_servers_are_listed_once(fleet: OllamaFleet) -> None:
    assert fleet.names("/api/tags") == ["both:latest", "one:latest", "two:8b", "gpt"]
    assert fleet.names("/api/ps") == ["one:latest", "two:8b"]
    (gpt,) = (each for each in fleet.get("/api/tags")["models"] if each["name"] == "gpt")
    assert (gpt["model"], gpt["size"], gpt["details"]["family"]) == ("gpt", 0, "")


def test_a_model_that_has_just_come_is_listed(fleet: OllamaFleet) -> None:
    fleet.one.lists("both", "one", "new")

    assert "new:latest" in fleet.names("/api/tags")


def test_a_server_that_is_away_or_odd_is_left_out(fleet: OllamaFleet) -> None:
    fleet.two.facts["/api/tags"] = Answer(500)
    fleet.two.facts["/api/ps"] = Answer(body={"models": [{"size": 1}, {"name": 7}]})
    assert fleet.names("/api/tags") == ["both:latest", "one:latest", "gpt"]
    assert fleet.names("/api/ps") == ["one:latest"]

    for fake in (fleet.one, fleet.two):
        fake.refuse()
    fleet.queue.probe_backends()
    assert fleet.names("/api/ps") == []


def test_only_what_the_settings_allow_is_listed(tmp_path: Path) -> None:
    fleet = OllamaFleet(tmp_path, one=["both"])

    assert fleet.names("/api/tags") == ["both:latest", "two:8b", "gpt"]
    fleet.close()


def test_the_version_is_the_oldest(fleet: OllamaFleet) -> None:
    assert fleet.get("/api/version") == {"version": "0.9.3"}


# --- one model ----------------------------------------------------------------------------------


def test_a_model_is_shown_by_a_server_that_has_it(fleet: OllamaFleet) -> None:
    assert fleet.post("/api/show", model="two:8b").json() == {"modelfile": "0.9.3"}
    assert fleet.post("/api/show", name="one").json() == {"modelfile": "0.12.0"}
    fleet.one.facts["/api/show"] = Answer(500)
    assert fleet.post("/api/show", model="both").json() == {"modelfile": "0.9.3"}
    gpt = fleet.post("/api/show", model="gpt").json()
    assert gpt["capabilities"] == ["completion"]
    assert gpt["model_info"] == {
        "general.architecture": "unknown",
        "general.parameter_count": 0,
        "unknown.context_length": 0,
        "unknown.embedding_length": 0,
    }
    meta = {"n_params": 134_515_008, "n_ctx_train": 2048, "size": 91_000_000}
    fleet.other.facts["/v1/models"] = Answer(body={"data": [5, {"id": "GPT", "meta": meta}]})
    assert fleet.post("/api/show", model="gpt").json()["model_info"] == {
        "general.architecture": "unknown",
        "general.parameter_count": 134_515_008,
        "unknown.context_length": 2048,
        "unknown.embedding_length": 0,
    }


def test_a_model_is_loaded_where_it_is(fleet: OllamaFleet) -> None:
    assert fleet.post("/api/generate", model="two:8b").json() == LOADED
    assert fleet.calls() == [0, 1, 0]
    assert fleet.post("/api/chat", model="both", messages=[]).json() == LOADED
    assert fleet.calls() == [1, 1, 0]


def test_another_server_loads_it_where_one_cannot(fleet: OllamaFleet) -> None:
    fleet.one.script(Answer(500, {"error": "no memory"}))

    assert fleet.post("/api/generate", model="both").json() == LOADED
    assert fleet.calls() == [1, 1, 0]


def test_a_model_is_unloaded_wherever_it_is(fleet: OllamaFleet) -> None:
    fleet.one.lists("both", loaded=["both"])
    fleet.two.lists("both", loaded=["both"])

    assert fleet.post("/api/generate", model="both", keep_alive=0).json() == LOADED
    assert fleet.calls() == [1, 1, 0]
    assert fleet.one.calls[0].body == {"model": "both", "keep_alive": 0, "stream": False}


@pytest.mark.parametrize("keep_alive", [0, 0.0, "0", "0s", "0m"])
def test_what_is_not_in_memory_is_not_unloaded(fleet: OllamaFleet, keep_alive: Any) -> None:
    answer = fleet.post("/api/chat", model="both", messages=[], keep_alive=keep_alive).json()

    assert (answer["done_reason"], answer["message"]["content"]) == ("unload", "")
    assert fleet.calls() == [0, 0, 0]


def test_other_servers_have_their_models_without_being_asked(fleet: OllamaFleet) -> None:
    assert fleet.post("/api/generate", model="gpt").json()["done_reason"] == "load"
    assert fleet.post("/api/generate", model="gpt", keep_alive=0).json()["done_reason"] == "unload"
    assert fleet.post("/api/embed", model="gpt", input=[]).json()["embeddings"] == []
    assert fleet.post("/api/embeddings", model="gpt").json() == {"embedding": []}
    assert fleet.calls() == [0, 0, 0]


def test_a_model_whose_servers_are_all_out(fleet: OllamaFleet) -> None:
    fleet.two.refuse()
    for _ in range(3):
        fleet.queue.probe_backends()

    for path in ("/api/show", "/api/generate"):
        answer = fleet.post(path, model="two:8b")
        assert answer.status_code == 503
        assert answer.json() == {"error": "no healthy server has model 'two:8b'"}
        assert answer.headers["Retry-After"]


def test_a_model_that_came_since_the_last_look_is_found(fleet: OllamaFleet) -> None:
    fleet.two.lists("new")
    messages = [{"role": "user", "content": "hi"}]

    answer = fleet.post("/api/chat", model="new", messages=messages, stream=False)

    assert answer.headers["X-Queue-Backend"] == "two"
    assert fleet.calls() == [0, 1, 0]


def test_a_reply_of_another_server_reads_as_ollamas(fleet: OllamaFleet) -> None:
    answer = fleet.post("/api/generate", model="gpt", prompt="hi", stream=False)

    assert answer.headers["X-Queue-Backend"] == "other"
    assert (answer.json()["response"], answer.json()["done"]) == ("Hello from here", True)
    vectors = fleet.post("/api/embeddings", model="gpt", prompt="four")
    assert vectors.json() == {"embedding": [4.0, 0.5]}
