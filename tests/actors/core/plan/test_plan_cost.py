"""A step of the plan costs O(log n), however many tasks wait and on however many routes.

What is counted are comparisons of keys and lines of Python, so that no clock is needed.
"""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, ClassVar

import pytest

from ollama_queue.actors.base.cooperation import never_yield, run_steps
from ollama_queue.actors.core.model.entry import Entry
from ollama_queue.actors.core.model.outcomes import Answered, ProbeResult
from ollama_queue.actors.core.plan.explain import describe, explain
from ollama_queue.actors.core.plan.plan import Plan
from tests.support.plans import CUT, NOW, REFUSED, asked, make_plan

pytestmark = pytest.mark.no_cover  # it traces lines itself, which only one can at a time

FEW, MANY = 1_000, 64_000
SAMPLES = 40
GROWTH = 3.0  # log2(64,000) / log2(1,000) = 1.6, and a little room
TWO_SEARCHES = 20.0  # in the smaller backlog: a step at its very edge takes fewer comparisons
Step = Callable[[Plan, int], object]


class Key(float):
    """A number that counts how often it is compared."""

    compared: ClassVar[int] = 0

    def __neg__(self) -> "Key":
        return Key(-float(self))

    def __lt__(self, other: float) -> bool:
        Key.compared += 1
        return float.__lt__(self, other)

    def __gt__(self, other: float) -> bool:
        Key.compared += 1
        return float.__gt__(self, other)

    def __eq__(self, other: object) -> bool:
        Key.compared += 1
        return float.__eq__(self, other)

    __hash__ = float.__hash__


def backlog(count: int, routes: int, later: bool = False) -> Plan:
    """A plan with one running task and `count` waiting ones."""
    plan = make_plan(max_tasks=2 * count)
    plan.submit("running", asked(model="another", priority=15), NOW)
    run_steps(
        plan.recover((entry(n, routes, later) for n in range(count)), [], [], [], NOW), never_yield
    )
    return plan


def entry(n: int, routes: int, later: bool) -> Entry:
    return Entry(
        id=f"{n:06}",
        route=f"route {n % routes}",
        priority=Key(1 + n % 3),  # type: ignore[arg-type]
        queued_at=Key(NOW + n // 7),
        due=Key(NOW + 1 + n % 100) if later else 0.0,
        attempt=0,
        retry_count=0,
        max_retries=3,
        interruptions=0,
        size=10,
        timeout_s=None,
        key=None,
    )


def cost(plan: Plan, step: Step, count: int) -> tuple[float, float]:
    """Comparisons and lines that a step takes, on average over steps all over the queue."""
    lines = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    step(plan, count - 1)  # what is built once is built now
    Key.compared, before = 0, sys.gettrace()
    sys.settrace(trace)
    try:
        for sample in range(SAMPLES):
            step(plan, sample * count // SAMPLES)
    finally:
        sys.settrace(before)
    return Key.compared / SAMPLES, lines / SAMPLES


def submit(plan: Plan, n: int) -> None:
    plan.submit(f"new {n:06}", SUBMITS[n % 2], NOW)


def finish(plan: Plan, n: int) -> None:
    (running,) = plan.slots
    plan.finished(0, running.entry.id, running.attempt, Answered(b""), NOW, 0.5)


def fail(plan: Plan, n: int) -> None:
    (running,) = plan.slots
    plan.finished(0, running.entry.id, running.attempt, CUT, NOW, 0.5)
    plan.probed("b", ProbeResult(), NOW)


def refuse(plan: Plan, n: int) -> None:
    (running,) = plan.slots
    plan.finished(0, running.entry.id, running.attempt, REFUSED, NOW, 0.5)
    plan.probed("b", ProbeResult(), NOW)


def cancel(plan: Plan, n: int) -> None:
    task_id = f"{n + 1:06}"
    if task_id in plan.entries:
        plan.cancel(task_id, NOW)


def reprioritize(plan: Plan, n: int) -> None:
    task_id = f"{n:06}"
    plan.reprioritize(task_id, 5 - plan.entries[task_id].priority, NOW)


def position(plan: Plan, n: int) -> None:
    assert len(explain(plan, [f"{n:06}"], NOW)) == 1


def wake(plan: Plan, n: int) -> None:
    plan.wake(NOW)
    assert describe(plan, NOW).active == 1


SUBMITS = asked(model="route 0"), asked(model="a new one")
STEPS: list[Step] = [submit, reprioritize, position, wake, cancel, finish, fail, refuse]
SHAPES: dict[str, tuple[Callable[[int], int], bool]] = {
    "one route": (lambda count: 1, False),
    "many routes": (lambda count: count // 4, False),
    "a route for each": (lambda count: count, False),
    "scheduled": (lambda count: count // 4, True),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_costs_the_logarithm_of_the_backlog(shape: str) -> None:
    routes, later = SHAPES[shape]
    few, many = (backlog(count, routes(count), later) for count in (FEW, MANY))

    for step in STEPS[:5] if later else STEPS:
        compared, lines = cost(few, step, FEW)
        compared_many, lines_many = cost(many, step, MANY)
        said = f"{step.__name__}: {compared} and {lines}, then {compared_many} and {lines_many}"
        assert compared_many <= GROWTH * max(compared, TWO_SEARCHES), said
        assert lines_many <= GROWTH * lines, said
        assert compared_many <= 400, said


def busy(slots: int) -> Plan:
    """A plan with as many running tasks as slots, whose calls take a second, and 200 waiting."""
    plan = make_plan(slots)
    for n in range(slots + 200):
        plan.submit(f"{n:06}", asked(), NOW)
    plan.dispatch.durations.note("m", "b", 1.0)
    return plan


def test_explaining_a_page_costs_the_same_however_many_calls_run() -> None:
    def page(plan: Plan, n: int) -> None:
        first = len(plan.slots)
        waits = explain(plan, [f"{first + n:06}" for n in range(100)], NOW)
        assert all(wait.eta_s is not None for wait in waits.values()) and len(waits) == 100

    _, few = cost(busy(4), page, 1)
    _, many = cost(busy(64), page, 1)

    assert many <= 1.5 * few, f"{few}, then {many} lines"
