"""Loading and unloading a model on a backend, at every door; models that are kept in memory."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ollama_queue import AsyncClient, Client, Conflict, Invalid, NotFound, QueueManager
from ollama_queue.actors.core.config.config import Config, ModelSettings
from ollama_queue.actors.core.model.stats import BackendState
from tests.support.blocking_client import AppServer
from tests.support.fakes.model_server import Answer, FakeOllama
from tests.support.harness.app import client, error
from tests.support.harness.backends import Fleet, ask
from tests.support.harness.cli import run as run_cli

LOADED = Answer(body={"model": "m", "done": True, "done_reason": "load"})
Call = Callable[..., BackendState]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path, gpu1={}, gpu2={}, llama={"type": "openai"}) as found:
        yield found


def loads(fake: FakeOllama, *models: str, loaded: tuple[str, ...] = ()) -> None:
    """Have a server load and unload what it is told to."""
    fake.lists(*models, loaded=loaded)
    memory = list(loaded)

    def behave(body: dict[str, Any]) -> Answer:
        model = body["model"].removesuffix(":latest")
        if model in memory:
            memory.remove(model)
        if body.get("keep_alive") != 0:
            memory.append(model)
        fake.lists(*models, loaded=memory)
        return LOADED

    fake.default = behave


@pytest.fixture(params=["python", "client", "async", "http", "cli"])
def door(request: pytest.FixtureRequest, fleet: Fleet) -> Iterator[Call]:
    """Calls `load` or `unload` with a server's name and a model."""
    app = AppServer.of(fleet.queue)

    def over_http(verb: str, name: str, model: str, **more: Any) -> BackendState:
        answer = client(fleet.queue).post(
            f"/api/backends/{name}/{verb}", json={"model": model, **more}
        )
        return _state(answer.json()) if answer.status_code == 200 else _fail(answer)

    def by_cli(verb: str, name: str, model: str, **more: Any) -> BackendState:
        words = [f"--{key.replace('_', '-')}={value}" for key, value in more.items()]
        told = run_cli(
            lambda _: nullcontext(fleet.queue),
            *("backends", verb, name, model, "--output", "json", *words),
        )
        if told.exit_code == 0:
            return _state(json.loads(told.stdout)[0])
        kinds = {2: Invalid, 3: NotFound, 4: Conflict}
        raise kinds[told.exit_code](told.stderr)

    async def asynchronously(verb: str, *args: Any, **more: Any) -> BackendState:
        async with AsyncClient(app.url) as queue:
            state: BackendState = await getattr(queue, f"{verb}_model")(*args, **more)
            return state

    def by_client(verb: str, *args: Any, **more: Any) -> BackendState:
        with Client(app.url) as queue:
            state: BackendState = getattr(queue, f"{verb}_model")(*args, **more)
            return state

    doors: dict[str, Call] = {
        "python": lambda verb, *args, **more: getattr(fleet.queue, f"{verb}_model")(*args, **more),
        "client": by_client,
        "async": lambda verb, *args, **more: asyncio.run(asynchronously(verb, *args, **more)),
        "http": over_http,
        "cli": by_cli,
    }
    yield doors[request.param]
    app.end()


def _state(fields: dict[str, Any]) -> BackendState:
    return BackendState(**fields)


def _fail(answer: Any) -> BackendState:
    _, code, field = error(answer)
    kinds = {"invalid": Invalid, "not_found": NotFound, "conflict": Conflict}
    raise kinds[code](answer.json()["error"]["message"], field=field)


# --- on request ---------------------------------------------------------------------------------


def test_a_model_is_loaded_and_unloaded_where_it_is_said(fleet: Fleet, door: Call) -> None:
    loads(fleet["gpu1"], "m", "small")

    assert door("load", "gpu1", "small").loaded == ["small"]
    assert door("load", "gpu1", "small:latest", keep_alive="1h").loaded == ["small"]
    assert door("unload", "gpu1", "small").loaded == []

    assert [(call.path, call.body) for call in fleet["gpu1"].calls] == [
        ("/api/generate", {"model": "small", "stream": False}),
        ("/api/generate", {"model": "small:latest", "stream": False, "keep_alive": "1h"}),
        ("/api/generate", {"model": "small", "stream": False, "keep_alive": 0}),
    ]
    assert fleet["gpu2"].calls == []
    assert fleet.queue.get_queue_stats().total_tasks == 0


def test_what_cannot_be_loaded_is_said(fleet: Fleet, door: Call) -> None:
    loads(fleet["gpu1"], "m")
    words = "there is no backend gpu7: choose from gpu1, gpu2, llama"
    for verb in ("load", "unload"):
        with pytest.raises(NotFound, match=words):
            door(verb, "gpu7", "m")
        with pytest.raises(NotFound, match="gpu1 does not have model 'nowhere'"):
            door(verb, "gpu1", "nowhere")
        with pytest.raises(Conflict, match="llama is of type openai: only Ollama loads"):
            door(verb, "llama", "m")
    fleet["gpu1"].default = Answer(500, {"error": "model requires more system memory"})
    with pytest.raises(
        Conflict, match="gpu1 could not load model 'm': model requires more system memory"
    ):
        door("load", "gpu1", "m")


@pytest.mark.parametrize("keep_alive", ["soon", "5 minutes", "1h\n", "", "9" * 80])
def test_a_keep_alive_that_ollama_cannot_read_is_refused(
    fleet: Fleet, door: Call, keep_alive: str
) -> None:
    loads(fleet["gpu1"], "m")
    with pytest.raises(Invalid, match="keep_alive must be a duration"):
        door("load", "gpu1", "m", keep_alive=keep_alive)
    assert fleet["gpu1"].calls == []


def test_a_model_that_only_embeds_is_loaded_by_an_empty_input(fleet: Fleet) -> None:
    fleet["gpu1"].lists("nomic").script(
        Answer(400, {"error": '"nomic" does not support generate'}), Answer(body={"embeddings": []})
    )

    fleet.queue.load_model("gpu1", "nomic", keep_alive=-1)

    assert [(call.path, call.body) for call in fleet["gpu1"].calls][1] == (
        "/api/embed",
        {"model": "nomic", "keep_alive": -1, "input": ""},
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "model"),
        ({"model": 3}, "model"),
        ({"model": "m", "keep_alive": []}, "keep_alive"),
        ({"model": "m", "keepalive": "1h"}, "keepalive"),
        ([], "body"),
    ],
)
def test_a_body_that_is_wrong(fleet: Fleet, body: Any, field: str) -> None:
    answer = client(fleet.queue).post("/api/backends/gpu1/load", json=body)

    assert error(answer) == (400, "invalid", field)


# --- kept in memory -----------------------------------------------------------------------------


class Kept:
    """A queue that keeps `small` on gpu1."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        fleet.queue.close(grace_s=0)
        self.config: Config = replace(fleet.config, models={"small": ModelSettings(keep=["gpu1"])})
        self.fake = fleet["gpu1"]
        loads(self.fake, "small", "big")
        fleet["gpu2"].lists("big")

    def start(self) -> QueueManager:
        self.fleet.queue = QueueManager(self.config).start()
        return self.fleet.queue

    def until_loaded(self, count: int) -> None:
        """Wait for so many loads in all, and until the queue knows of the last."""
        self.fake.wait_for_calls(count)
        self.fleet.queue.probe_backends()
        assert self.fleet.state("gpu1").loaded == ["small"]


@pytest.fixture
def kept(fleet: Fleet) -> Kept:
    return Kept(fleet)


def test_a_kept_model_is_loaded_at_the_start_for_ever(kept: Kept) -> None:
    kept.start()
    kept.until_loaded(1)

    (call,) = kept.fake.calls
    assert call.body == {"model": "small", "stream": False, "keep_alive": -1}
    states = {state.name: state.pinned for state in kept.fleet.queue.list_backends()}
    assert states == {"gpu1": ["small"], "gpu2": [], "llama": []}


def test_it_is_not_loaded_again_where_it_is_in_memory(kept: Kept) -> None:
    loads(kept.fake, "small", loaded=("small",))
    queue = kept.start()
    for _ in range(3):
        queue.probe_backends()

    assert kept.fake.calls == []


def test_a_server_that_does_not_have_it_is_warned_of_once(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    kept.fake.lists("big")
    queue = kept.start()
    for _ in range(3):
        queue.probe_backends()
    told = run_cli(lambda _: nullcontext(queue), "backends").stdout.splitlines()

    warning = "backend gpu1 does not have model small: models.small.keep has it keep this model"
    assert [r.levelname for r in caplog.records if r.message.startswith(warning)] == ["WARNING"]
    assert "small (absent)" in told[1]
    loads(kept.fake, "small", "big")
    queue.probe_backends()
    kept.until_loaded(1)


def test_it_cannot_be_unloaded_there(kept: Kept) -> None:
    queue = kept.start()
    kept.until_loaded(1)

    with pytest.raises(Conflict, match=r"models.small.keep has gpu1 keep this model in memory"):
        queue.unload_model("gpu1", "small")


def test_a_drained_server_loads_nothing_until_it_is_resumed(kept: Kept) -> None:
    queue = kept.fleet.queue = QueueManager(replace(kept.config, models={})).start()
    queue.drain_backend("gpu1")
    queue.close(grace_s=0)
    queue = kept.start()
    queue.probe_backends()
    assert kept.fake.calls == []

    queue.resume_backend("gpu1")

    kept.until_loaded(1)


def test_it_is_shown_at_the_command_line(kept: Kept) -> None:
    kept.start()
    kept.until_loaded(1)
    told = run_cli(lambda _: nullcontext(kept.fleet.queue), "backends").stdout.splitlines()

    assert "PINNED" in told[0].split()
    assert told[1].split().count("small") == 2


def test_tasks_of_other_models_prefer_a_server_without_kept_ones(kept: Kept) -> None:
    kept.start()
    kept.until_loaded(1)

    assert {kept.fleet.run(ask(model="big")).executed_on for _ in range(3)} == {"gpu2"}
