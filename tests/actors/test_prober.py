"""The prober: looks at each backend at the start, now and then, and again and again when out."""

from collections.abc import Iterator
from typing import Any

import pytest

from ollama_queue.actors import prober
from ollama_queue.actors.base.actor import Ping, Ref, ask, start, stop, tell
from ollama_queue.actors.core.messages import BackendProbed, Wake
from ollama_queue.actors.core.model.orders import Probe
from ollama_queue.actors.core.model.outcomes import ProbeResult
from ollama_queue.actors.prober import Prober
from tests.support.recorders import PATIENCE_S, Controlled, Recorder

WELL = ProbeResult()


class ProberHarness:
    def __init__(self, *names: str, interval_s: float = 3600.0) -> None:
        self.executors = {name: Controlled() for name in names or ("gpu1",)}
        self.executor = next(iter(self.executors.values()))
        self.scheduler = Recorder()
        self.reports: list[str] = []
        self.ref: Ref = start(
            Prober,
            self.reports.append,
            executors=self.executors,
            interval_s=interval_s,
            max_rest_s=300.0,
            scheduler=self.scheduler,
        )

    def seen(self, count: int = 1) -> list[Any]:
        return self.scheduler.wait_for(BackendProbed, count)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that are asked for come at once."""
    monkeypatch.setattr(prober, "LEAST_S", 0.0)


@pytest.fixture
def bench() -> Iterator[ProberHarness]:
    """One that has looked once, and found its backend well."""
    made = ProberHarness()
    made.executor.probes.put(None)
    made.seen()
    made.scheduler.clear()
    yield made
    stop(made.ref, PATIENCE_S)


def test_it_looks_at_all_backends_at_the_start() -> None:
    made = ProberHarness("gpu1", "gpu2", "cloud")
    for executor in made.executors.values():
        executor.probes.put(None)

    seen = made.seen(3)
    stop(made.ref, PATIENCE_S)

    assert sorted(message.backend for message in seen) == ["cloud", "gpu1", "gpu2"]
    assert [message.result for message in seen] == [WELL] * 3


def test_it_looks_again_after_the_interval() -> None:
    made = ProberHarness(interval_s=0.0)
    for _ in range(3):
        made.executor.probes.put(None)

    assert made.seen(3) == [BackendProbed("gpu1", WELL)] * 3
    made.executor.probes.put(None)  # the one that waits
    stop(made.ref, PATIENCE_S)


def test_one_that_hangs_keeps_nobody_from_being_looked_at() -> None:
    made = ProberHarness("hangs", "gpu2")
    made.executors["gpu2"].probes.put(None)

    assert made.seen() == [BackendProbed("gpu2", WELL)]
    made.executors["hangs"].probes.put(None)
    made.seen(2)
    stop(made.ref, PATIENCE_S)


def test_it_looks_when_it_is_told_to(bench: ProberHarness) -> None:
    bench.executor.probes.put(None)
    tell(bench.ref, Probe("gpu1", 0.0))

    assert bench.seen() == [BackendProbed("gpu1", WELL)]


def test_a_backend_that_is_out_is_looked_at_again(
    bench: ProberHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays = []

    def soon(failures: int) -> float:
        delays.append(failures)
        return 0.0

    monkeypatch.setattr(prober, "probe_delay", soon)
    for result in ("no connection", "still none", None):
        bench.executor.probes.put(result)
    tell(bench.ref, Probe("gpu1", 0.0))

    assert [message.result.error for message in bench.seen(3)] == [
        "no connection",
        "still none",
        None,
    ]
    assert delays == [1, 2]


def test_its_mailbox_stays_open_while_it_looks(bench: ProberHarness) -> None:
    tell(bench.ref, Probe("gpu1", 0.0))

    assert ask(bench.ref, Ping(), timeout=PATIENCE_S)
    bench.executor.probes.put(None)
    bench.seen()


def test_it_looks_once_at_a_time(bench: ProberHarness) -> None:
    for _ in range(3):
        tell(bench.ref, Probe("gpu1", 0.0))
    for _ in range(2):
        bench.executor.probes.put(None)

    assert len(bench.seen(2)) == 2  # one for the first, one for all that came during it
    ask(bench.ref, Ping())
    assert bench.executor.probes.empty()


def test_no_look_comes_before_its_time(bench: ProberHarness) -> None:
    tell(bench.ref, Probe("gpu1", 1800.0))
    for _ in range(3):
        tell(bench.ref, Wake())
    ask(bench.ref, Ping())

    assert bench.scheduler.told == []


def test_a_look_that_breaks_counts_as_failed(bench: ProberHarness) -> None:
    bench.executor.probes.put(RuntimeError("broken"))
    tell(bench.ref, Probe("gpu1", 0.0))

    (message,) = bench.seen()
    assert message.result.error == "RuntimeError: broken"
    assert bench.reports == []
