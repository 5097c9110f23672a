"""Which backend may run a task, and which of several does."""

from typing import Any

import pytest

from ollama_queue.actors.base.cooperation import never_yield, run_steps
from ollama_queue.actors.core.config.config import RemoteScheduling
from ollama_queue.actors.core.intake.submission import draft, generate_task
from ollama_queue.actors.core.messages import Submit
from ollama_queue.actors.core.model.errors import Invalid
from ollama_queue.actors.core.model.orders import Run
from ollama_queue.actors.core.model.outcomes import Answered, ProbeResult
from ollama_queue.actors.core.plan.plan import Plan
from ollama_queue.actors.core.routing.gates import Gate
from tests.support.plans import NOW, asked, plan_of

FORCED = RemoteScheduling(fallback_to_local=False)


def gate(name: str, **facts: Any) -> Gate:
    return Gate(**{"name": name, "type": "ollama", "parallel": 1, **facts})


def where(plan: Plan, *submits: Submit) -> list[str]:
    """The backends of the calls that begin."""
    orders = [o for n, each in enumerate(submits) for o in plan.submit(f"t{n}", each, NOW)]
    return [order.backend for order in orders if isinstance(order, Run)]


OUT: dict[str, dict[str, Any]] = {
    "not well": {"healthy": False},
    "not looked at yet": {"is_known": False},
    "drained": {"drained": True},
    "resting": {"resting_until": NOW + 1},
    "without the model": {"models": frozenset({"n"})},
    "full": {"running": 1},
}


@pytest.mark.parametrize("why", OUT)
def test_a_backend_gets_no_call_while_it_is(why: str) -> None:
    assert where(plan_of([gate("a", **OUT[why])], 2), asked()) == []
    assert where(plan_of([gate("a", **OUT[why]), gate("b")], 2), asked()) == ["b"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["a", "b", "far"]),
        ({"tags": ["fast"]}, ["a", "b", "far"]),
        ({"backend": "b"}, ["b"]),
        ({"backend": "tag:fast"}, ["b", "far"]),
        ({"remote_execution": True}, ["far"]),
        ({"backend": "tag:fast", "remote_execution": True}, ["far"]),
    ],
)
def test_a_task_says_where_it_may_run(fields: dict[str, Any], expected: list[str]) -> None:
    fast = frozenset({"fast"})
    gates = [gate("a"), gate("b", tags=fast), gate("far", tags=fast, remote=True, type="openai")]

    assert where(plan_of(gates, 9, rules=FORCED), *[asked(**fields)] * 5) == expected


def test_what_only_ollama_knows_runs_there() -> None:
    new = draft(generate_task("m", "hi", template="x"))

    assert where(plan_of([gate("a", type="openai"), gate("b")], 3), new, new) == ["b"]


def test_also_when_other_servers_come_later() -> None:
    before = plan_of([gate("a", healthy=False)])
    before.submit("x", asked(template="x"), NOW)
    plan = plan_of([gate("far", type="openai"), gate("a")], 2)

    orders = run_steps(plan.recover([before.entries["x"]], [], [], [], NOW), never_yield)

    assert [order.backend for order in orders if isinstance(order, Run)] == ["a"]


REFUSED = [
    ({"backend": "c"}, "backend", "backend must name a backend: choose from a, b, tag:slow"),
    ({"backend": "tag:x"}, "backend", "backend must name a backend: choose from a, b, tag:slow"),
    (
        {"remote_execution": True},
        "remote_execution",
        "remote_execution needs a remote backend, and there is none",
    ),
    (
        {"remote_execution": True, "backend": "a"},
        "remote_execution",
        "remote_execution needs a remote backend, and a is a local one",
    ),
]


@pytest.mark.parametrize(("fields", "field", "words"), REFUSED)
def test_what_nothing_may_run_is_refused(fields: dict[str, Any], field: str, words: str) -> None:
    plan = plan_of([gate("a", tags=frozenset({"slow"})), gate("b", healthy=False)], rules=FORCED)

    with pytest.raises(Invalid) as caught:
        plan.submit("a", asked(**fields), NOW)

    assert (caught.value.field, caught.value.message) == (field, words)
    assert not plan.entries


def test_what_only_ollama_knows_is_refused_where_there_is_none() -> None:
    new = draft(generate_task("m", "hi", template="x"))

    with pytest.raises(Invalid) as caught:
        plan_of([gate("a", type="openai")]).submit("a", new, NOW)

    assert caught.value.field == "template"


class TestRemote:
    def plan(self, **far: Any) -> Plan:
        return plan_of([gate("near"), gate("far", remote=True, type="openai", **far)], 9)

    def test_it_runs_here_only_while_no_remote_one_is_in(self) -> None:
        remote = asked(remote_execution=True)
        assert where(self.plan(), remote, remote) == ["far"]
        assert where(self.plan(healthy=False), remote, remote) == ["near"]
        assert where(self.plan(drained=True), remote) == ["near"]
        assert where(self.plan(models=frozenset({"n"})), remote) == ["near"]

    def test_a_remote_one_that_rests_is_waited_for(self) -> None:
        plan = self.plan(resting_until=NOW + 5)

        assert where(plan, asked(remote_execution=True)) == []
        assert plan.next_due == NOW + 5
        assert [o.backend for o in plan.wake(NOW + 5) if isinstance(o, Run)] == ["far"]

    def test_it_never_runs_here_without_fallback(self) -> None:
        gates = [gate("near"), gate("far", remote=True, healthy=False)]

        assert where(plan_of(gates, 9, rules=FORCED), asked(remote_execution=True)) == []


class TestPreference:
    """One reason each, stronger than all below it."""

    def chosen(self, *gates: Gate, waiting: int = 1, **settings: Any) -> str:
        plan = plan_of(gates, 9, **settings)
        plan.pause()
        for n in range(waiting):
            plan.submit(f"t{n}", asked(), NOW)
        plan.entries["t0"].avoid = "avoided"
        return next(o.backend for o in plan.resume(NOW) if isinstance(o, Run))

    def test_first_another_one_than_where_it_failed(self) -> None:
        assert self.chosen(gate("avoided", loaded={"m": ""}), gate("b", remote=True)) == "b"
        assert self.chosen(gate("avoided")) == "avoided"

    def test_then_one_that_has_it_loaded_for_the_same_runner(self) -> None:
        assert self.chosen(gate("a", priority=9), gate("b", loaded={"m": ""})) == "b"
        assert self.chosen(gate("a"), gate("b", loaded={"m": '{"num_ctx":8}'})) == "a"

    def test_then_a_local_one(self) -> None:
        far, near = gate("far", remote=True, loaded={"m": ""}), gate("near")
        assert self.chosen(far, near) == "near"
        off = RemoteScheduling(local_first_policy=False)
        assert self.chosen(far, near, rules=off) == "far"

    def test_which_counts_no_more_when_too_many_wait(self) -> None:
        few = RemoteScheduling(max_local_queue_size=2)
        gates = [gate("far", remote=True, priority=9), gate("near")]
        assert self.chosen(*gates, rules=few, waiting=2) == "near"
        gates = [gate("far", remote=True, priority=9), gate("near")]
        assert self.chosen(*gates, rules=few, waiting=3) == "far"

    def test_those_of_tomorrow_do_not_wait_yet(self) -> None:
        plan = plan_of(
            [gate("far", remote=True, priority=9), gate("near")],
            rules=RemoteScheduling(max_local_queue_size=2),
        )
        for n in range(5):
            plan.submit(f"l{n}", asked(scheduled_at="2099-01-01T00:00:00Z"), NOW)
        assert where(plan, asked()) == ["near"]

    def test_then_the_higher_priority(self) -> None:
        assert self.chosen(gate("a"), gate("b", priority=1, parallel=2, running=1)) == "b"

    def test_then_the_one_with_fewest_calls(self) -> None:
        assert self.chosen(gate("a", parallel=3, running=1), gate("b", parallel=3)) == "b"

    def test_then_the_first_named(self) -> None:
        assert self.chosen(gate("b"), gate("a")) == "b"


class TestLoaded:
    def test_it_is_known_from_the_call_and_corrected_by_a_look(self) -> None:
        plan = plan_of([gate("a")])
        plan.submit("x", asked(model="m", options={"num_ctx": 8}), NOW)
        (one,) = plan.gates
        assert one.loaded == {"m": '{"num_ctx":8}'}

        plan.finished(0, "x", 1, Answered(b"{}"), NOW, 0.5)
        plan.probed("a", ProbeResult(loaded=frozenset({"m", "n"})), NOW)
        assert one.loaded == {"m": '{"num_ctx":8}', "n": ""}

        plan.probed("a", ProbeResult(), NOW)
        assert one.loaded == {}

    def test_what_runs_counts_as_loaded_and_nothing_else_that_a_look_does_not_see(self) -> None:
        plan = plan_of([gate("a", parallel=2, loaded={"old": "", "m": ""})])
        plan.submit("x", asked(model="m"), NOW)

        plan.probed("a", ProbeResult(), NOW)

        assert next(iter(plan.gates)).loaded == {"m": ""}
