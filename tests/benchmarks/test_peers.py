"""How the figures of other queues are compared with ours."""

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness import Row
from benchmarks.peers.__main__ import (
    COUNTERPARTS,
    DRAINED_BY_FEW,
    DRAINED_BY_MANY,
    EMBEDDED,
    ENQUEUED,
    OVER_HTTP,
    PICKUP,
    add_pair,
    shares,
)


def test_a_ratio_above_one_is_in_our_favour() -> None:
    ours = {ENQUEUED: 100.0, OVER_HTTP: 400.0, EMBEDDED: 800.0, PICKUP: 2.0}
    ours |= {DRAINED_BY_MANY: 900.0, DRAINED_BY_FEW: 600.0}
    theirs = {ENQUEUED: 200.0, DRAINED_BY_MANY: 300.0, DRAINED_BY_FEW: 600.0, PICKUP: 5.0}
    ratios: dict[tuple[str, str], Row] = {}
    figures: dict[tuple[str, str], Row] = {}

    add_pair("huey", ours, theirs, ratios, figures)

    assert {unit: row.values for (_, unit), row in ratios.items()} == {
        ENQUEUED: [0.5],
        OVER_HTTP: [2.0],
        EMBEDDED: [4.0],
        DRAINED_BY_MANY: [3.0],
        DRAINED_BY_FEW: [1.0],
        PICKUP: [2.5],
    }
    assert figures["huey", PICKUP].values == [5.0]
    assert {unit for name, unit in figures if name == "ours"} == set(COUNTERPARTS)


def test_a_figure_that_a_peer_lacks_is_left_out() -> None:
    ours = dict.fromkeys(COUNTERPARTS, 100.0)
    ratios: dict[tuple[str, str], Row] = {}
    figures: dict[tuple[str, str], Row] = {}

    add_pair("huey", ours, {ENQUEUED: 50.0}, ratios, figures)

    assert {unit for _, unit in ratios} == {ENQUEUED, OVER_HTTP, EMBEDDED}
    assert {name for name, _ in figures} == {"ours", "huey"}


@given(st.integers(0, 10_000), st.integers(1, 16))
def test_all_tasks_are_shared_out(tasks: int, clients: int) -> None:
    counts = shares(tasks, clients)

    assert (len(counts), sum(counts)) == (clients, tasks)
    assert max(counts) - min(counts) <= 1
