"""The prober: asks a backend that is out, again and again, until it is well."""

from collections.abc import Iterator
from typing import Any

import pytest

from ollama_queue.actors import prober
from ollama_queue.actors.actor import Ref, SignOfLife, ask, start, stop, tell
from ollama_queue.actors.core.messages import BackendChanged, Wake
from ollama_queue.actors.core.orders import Watch
from ollama_queue.actors.prober import Prober
from tests.actors.standins import PATIENCE_S, Controlled, Recorder


class Bench:
    def __init__(self) -> None:
        self.executor, self.scheduler = Controlled(), Recorder()
        self.reports: list[str] = []
        self.ref: Ref = start(
            Prober, self.reports.append, executor=self.executor, scheduler=self.scheduler
        )

    def well(self) -> list[Any]:
        return self.scheduler.wait_for(BackendChanged)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    stop(made.ref, PATIENCE_S)


def test_a_backend_that_is_well_again_is_reported(bench: Bench) -> None:
    bench.executor.probes.put(None)
    tell(bench.ref, Watch("gpu1", 0.0))

    assert bench.well() == [BackendChanged("gpu1")]


def test_a_backend_that_is_not_is_probed_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays = []

    def soon(failures: int) -> float:
        delays.append(failures)
        return 0.0

    monkeypatch.setattr(prober, "probe_delay", soon)
    for result in ("no connection", "still none", None):
        bench.executor.probes.put(result)
    tell(bench.ref, Watch("gpu1", 0.0))

    assert bench.well() == [BackendChanged("gpu1")]
    assert delays == [2, 3]
    assert bench.executor.probes.empty()


def test_its_mailbox_stays_open_while_it_probes(bench: Bench) -> None:
    tell(bench.ref, Watch("gpu1", 0.0))

    assert ask(bench.ref, SignOfLife(), timeout=PATIENCE_S)
    bench.executor.probes.put(None)
    bench.well()


def test_no_probe_comes_before_its_time(bench: Bench) -> None:
    tell(bench.ref, Watch("gpu1", 3600.0))
    for _ in range(3):
        tell(bench.ref, Wake())
    ask(bench.ref, SignOfLife())

    assert bench.scheduler.told == []


def test_a_wake_for_nothing_is_nothing(bench: Bench) -> None:
    tell(bench.ref, Wake())

    assert ask(bench.ref, SignOfLife())
    assert bench.scheduler.told == []


def test_a_probe_that_breaks_counts_as_failed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prober, "probe_delay", lambda failures: 0.0)
    bench.executor.probes.put(RuntimeError("broken"))
    bench.executor.probes.put(None)
    tell(bench.ref, Watch("gpu1", 0.0))

    assert bench.well() == [BackendChanged("gpu1")]
    assert bench.reports == []
