"""What doors ask of the prober: to look at all now, and to carry a call to model servers."""

from collections.abc import Iterator

import pytest

from ollama_queue.actors import prober
from ollama_queue.actors.base.actor import Ping, ask, stop, tell
from ollama_queue.actors.core.messages import (
    BackendProbed,
    CallBackends,
    LoadModel,
    ModelKept,
    ProbeAll,
)
from ollama_queue.actors.core.model.errors import Unavailable
from ollama_queue.actors.core.model.orders import KeepModel, Probe
from ollama_queue.actors.core.model.outcomes import Failed, Verdict
from tests.actors.test_prober import ProberHarness
from tests.support.recorders import PATIENCE_S, asked

PS = "/api/ps"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prober, "LEAST_S", 0.0)


@pytest.fixture
def bench() -> Iterator[ProberHarness]:
    """Two backends, which have been looked at."""
    made = ProberHarness("gpu1", "gpu2")
    for executor in made.executors.values():
        executor.probes.put(None)
    made.seen(2)
    made.scheduler.clear()
    yield made
    stop(made.ref, PATIENCE_S)


def test_a_survey_is_over_when_all_have_been_looked_at(bench: ProberHarness) -> None:
    promise = asked(bench.ref, ProbeAll())
    bench.executors["gpu1"].probes.put(None)
    bench.seen()
    assert not promise.is_kept

    bench.executors["gpu2"].probes.put("no connection")

    assert promise.get(PATIENCE_S) is True
    assert len(bench.scheduler.told) == 2  # the plan knows before whoever asked


def test_a_look_that_began_before_the_survey_does_not_count(bench: ProberHarness) -> None:
    tell(bench.ref, Probe("gpu1", 0.0))
    ask(bench.ref, Ping())
    promise = asked(bench.ref, ProbeAll())
    bench.executors["gpu2"].probes.put(None)
    bench.executors["gpu1"].probes.put(None)
    bench.seen(2)
    ask(bench.ref, Ping())
    assert not promise.is_kept

    bench.executors["gpu1"].probes.put(None)

    assert promise.get(PATIENCE_S) is True


def test_each_server_is_consulted_and_answers_for_itself(bench: ProberHarness) -> None:
    bench.executors["gpu1"].says.put(b"[]")
    bench.executors["gpu2"].says.put(Failed("busy", Verdict.RETRY))

    replies = ask(bench.ref, CallBackends(("gpu1", "gpu2"), PS))

    assert replies == {"gpu1": b"[]", "gpu2": Failed("busy", Verdict.RETRY)}
    assert bench.executor.consulted == [(PS, None, 5.0)]
    assert bench.scheduler.told == []


def test_one_that_hangs_does_not_keep_others_from_being_consulted(bench: ProberHarness) -> None:
    hanging = asked(bench.ref, CallBackends(("gpu1",), PS))
    bench.executors["gpu2"].says.put(b"{}")

    assert ask(bench.ref, CallBackends(("gpu2",), PS)) == {"gpu2": b"{}"}
    assert not hanging.is_kept
    bench.executors["gpu1"].says.put(b"late")
    assert hanging.get(PATIENCE_S) == {"gpu1": b"late"}


def test_nobody_to_be_consulted_is_answered_at_once(bench: ProberHarness) -> None:
    assert ask(bench.ref, CallBackends((), PS)) == {}


def test_a_call_that_may_load_is_followed_by_a_look(bench: ProberHarness) -> None:
    bench.executor.says.put(b"{}")
    bench.executor.probes.put(None)
    body = {"model": "m"}

    ask(bench.ref, CallBackends(("gpu1",), "/api/generate", body, 300.0, loads=True))

    assert bench.executor.consulted == [("/api/generate", body, 300.0)]
    assert [message.backend for message in bench.seen()] == ["gpu1"]
    assert isinstance(bench.scheduler.told[0], BackendProbed)


def test_a_call_that_breaks_is_a_failure(bench: ProberHarness) -> None:
    bench.executor.says.put(RuntimeError("broken"))

    replies = ask(bench.ref, CallBackends(("gpu1",), PS))

    assert replies == {"gpu1": Failed("RuntimeError: broken", Verdict.FINAL)}
    assert bench.reports == []


def test_who_asks_hears_that_the_queue_stops(bench: ProberHarness) -> None:
    promise = asked(bench.ref, CallBackends(("gpu1",), PS))
    ask(bench.ref, Ping())
    stop(bench.ref, PATIENCE_S)

    with pytest.raises(Unavailable, match="stopped"):
        promise.get(PATIENCE_S)
    bench.executor.says.put(b"nobody hears it")


# --- loading models -----------------------------------------------------------------------------


def test_a_model_is_loaded_by_an_empty_request_and_looked_at_after(bench: ProberHarness) -> None:
    bench.executor.says.put(b"{}")
    bench.executor.probes.put(None)

    assert ask(bench.ref, LoadModel("gpu1", "m", "5m")) == b"{}"

    bench.seen(1)
    body = {"model": "m", "stream": False, "keep_alive": "5m"}
    assert bench.executor.consulted == [("/api/generate", body, 300.0)]


def test_one_that_only_embeds_gets_an_empty_input(bench: ProberHarness) -> None:
    bench.executor.says.put(Failed('"m" does not support generate', Verdict.FINAL))
    bench.executor.says.put(b"{}")
    bench.executor.probes.put(None)

    assert ask(bench.ref, LoadModel("gpu1", "m")) == b"{}"

    assert bench.executor.consulted[1] == ("/api/embed", {"model": "m", "input": ""}, 300.0)


@pytest.mark.parametrize(
    ("reply", "error"), [(b"{}", None), (Failed("no memory", Verdict.RETRY), "no memory")]
)
def test_the_plan_learns_how_the_load_of_a_kept_model_went(
    bench: ProberHarness, reply: bytes | Failed, error: str | None
) -> None:
    bench.executor.says.put(reply)
    bench.executor.probes.put(None)
    tell(bench.ref, KeepModel("gpu1", "m"))

    assert bench.scheduler.wait_for(ModelKept, 1) == [ModelKept("gpu1", "m", error)]
    assert bench.executor.consulted[0][1] == {"model": "m", "stream": False, "keep_alive": -1}
    bench.seen(1)


def test_only_those_named_are_looked_at(bench: ProberHarness) -> None:
    promise = asked(bench.ref, ProbeAll(("gpu2",)))
    bench.executors["gpu2"].probes.put(None)

    assert promise.get(PATIENCE_S) is True
    assert [message.backend for message in bench.scheduler.told] == ["gpu2"]
