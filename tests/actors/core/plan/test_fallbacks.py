"""When a fallback takes a task in place of the task's own model."""

from typing import Any

import pytest
from msgspec.structs import replace

from ollama_queue.actors.base.cooperation import never_yield, run_steps
from ollama_queue.actors.core.config.config import (
    ModelSettings,
    RemoteScheduling,
    RetrySettings,
    SchedulerSettings,
)
from ollama_queue.actors.core.intake.submission import draft, embed_task
from ollama_queue.actors.core.messages import Submit
from ollama_queue.actors.core.model.errors import NotFound
from ollama_queue.actors.core.model.orders import Change, Insert, Order, Run
from ollama_queue.actors.core.model.outcomes import Answered, Failed, ProbeResult, Verdict
from ollama_queue.actors.core.model.tasks import Status, WaitingFor
from ollama_queue.actors.core.plan.explain import describe, explain, reasons
from ollama_queue.actors.core.plan.plan import Plan
from ollama_queue.actors.core.routing.gates import Gate
from tests.support.plans import CUT, HTTP_500, NOW, REFUSED, asked, plan_of

ANSWERED = Answered(b"{}")
NO_MODEL = Failed("no such model", Verdict.NO_MODEL)
FINAL = Failed("a bad option", Verdict.FINAL)
AWAY: dict[str, dict[str, Any]] = {
    "is away": {"healthy": False},
    "is drained": {"drained": True},
    "never answered a probe": {"is_known": False, "models": None},
    "rests for longer than a task waits": {"resting_until": NOW + 40},
}


def gate(name: str, *models: str, **facts: Any) -> Gate:
    facts = {"models": frozenset(models), **facts}
    return Gate(**{"name": name, "type": "ollama", "parallel": 1, **facts})


def big(*fallbacks: str, **fields: Any) -> Submit:
    return asked(model="big", fallback_models=list(fallbacks), **fields)


def calls(orders: list[Order]) -> list[tuple[str, str, str | None]]:
    """The calls that begin: task, backend and the fallback, if it is one."""
    return [(o.task_id, o.backend, o.fallback) for o in orders if isinstance(o, Run)]


def submit(plan: Plan, *submits: Submit, now: float = NOW) -> list[tuple[str, str, str | None]]:
    """Submit tasks `a`, `b`, …; returns the calls that begin."""
    tasks = zip("abcdefgh", submits, strict=False)
    return calls([order for task_id, new in tasks for order in plan.submit(task_id, new, now)])


def busy(*gates: Gate, slots: int = 9, **settings: Any) -> Plan:
    """A plan whose backends each run a task of another kind."""
    plan = plan_of(gates, slots, **settings)
    for each in gates:
        model = sorted(each.models or ())[0]
        plan.submit(f"first-{each.name}", asked(model=model, backend=each.name), NOW)
    assert len(plan.slots) == len(gates)
    return plan


def free(plan: Plan, name: str, now: float) -> list[tuple[str, str, str | None]]:
    """End the call of a backend; returns the calls that begin."""
    (running,) = [each for each in plan.slots if each.gate.name == name]
    return calls(plan.finished(running.slot, running.entry.id, running.attempt, ANSWERED, now, 0.5))


# --- no backend can run its model ---------------------------------------------------------------


def test_its_own_model_is_used_where_it_can_be() -> None:
    plan = plan_of([gate("g1", "small"), gate("g2", "big", "small")], 2)

    assert submit(plan, big("small")) == [("a", "g2", None)]


def test_a_fallback_takes_it_at_once_if_no_backend_has_its_model() -> None:
    plan = plan_of([gate("g1", "small"), gate("g2", "tiny")], 3)

    assert submit(plan, big("none", "Tiny:latest", "small")) == [("a", "g2", "Tiny:latest")]


@pytest.mark.parametrize("why", AWAY)
def test_a_fallback_takes_it_while_its_backend(why: str) -> None:
    plan = plan_of([gate("g1", "big", **AWAY[why]), gate("g2", "small")], 3)

    assert submit(plan, big("small"), big(), big("small")) == [("a", "g2", "small")]
    assert free(plan, "g2", NOW + 1) == [("c", "g2", "small")]


def test_it_waits_for_a_first_probe_and_for_a_short_rest() -> None:
    unseen = gate("g1", is_unseen=True, models=None, is_known=False)
    resting = gate("g1", "big", resting_until=NOW + 29)
    plans = [plan_of([each, gate("g2", "small")], 3) for each in (unseen, resting)]

    assert [submit(plan, big("small")) for plan in plans] == [[], []]
    seen = plans[0].probed("g1", ProbeResult(models=frozenset({"x"})), NOW + 1)
    assert calls(seen) == [("a", "g2", "small")]
    assert calls(plans[1].wake(NOW + 29)) == [("a", "g1", None)]


def test_a_server_that_returns_gets_the_tasks_that_have_not_begun() -> None:
    plan = plan_of([gate("g1", "big", healthy=False), gate("g2", "small")], 3)
    submit(plan, big("small"), big("small"))

    well = plan.probed("g1", ProbeResult(models=frozenset({"big"})), NOW + 1)

    assert calls(well) == [("b", "g1", None)]


def test_a_task_that_loses_its_server_goes_to_the_fallback() -> None:
    plan = plan_of([gate("g1", "big"), gate("g2", "small")], 3)
    submit(plan, big("small"))

    orders = plan.finished(0, "a", 1, REFUSED, NOW + 1, 0.5)

    assert calls(orders) == [("a", "g2", "small")]


def test_a_model_that_is_listed_and_not_there_is_replaced_at_once() -> None:
    plan = plan_of([gate("g1", "big"), gate("g2", "small")], 3)
    submit(plan, big("small"))

    assert calls(plan.finished(0, "a", 1, NO_MODEL, NOW, 0.5)) == [("a", "g2", "small")]


def test_the_one_that_never_has_its_model_gives_it_up() -> None:
    plan = plan_of([gate("g1", "big", "small")], 3)
    probe = ProbeResult(models=frozenset({"big", "small"}))
    submit(plan, big("small"))
    assert calls(plan.finished(0, "a", 1, NO_MODEL, NOW, 0.5)) == [("a", "g1", "small")]
    plan.probed("g1", probe, NOW)

    assert calls(plan.finished(0, "a", 2, CUT, NOW, 0.5)) == []  # a retry
    assert calls(plan.wake(NOW + 1)) == [("a", "g1", None)]
    orders = plan.finished(0, "a", 3, NO_MODEL, NOW + 1, 0.5)

    assert calls(orders) == [("a", "g1", "small")]
    assert changes(orders)[0] == 'big {"@else":["small"],"@gone":["big"]}'


def changes(orders: list[Order]) -> list[Any]:
    """The routes that are saved."""
    found = [order.fields for order in orders if isinstance(order, Change)]
    return [fields["route"] for fields in found if "route" in fields]


def test_spent_retries_go_to_the_fallback_and_a_bad_request_fails() -> None:
    plan = plan_of([gate("g1", "big", "small", "tiny")], 3, retry=RetrySettings(max_retries=0))
    submit(plan, big("small", "tiny"), big("small"))

    assert calls(plan.finished(0, "a", 1, HTTP_500, NOW, 0.5)) == [("a", "g1", "small")]
    assert calls(plan.finished(0, "a", 2, HTTP_500, NOW, 0.5)) == [("a", "g1", "tiny")]
    orders = plan.finished(0, "a", 3, HTTP_500, NOW, 0.5)
    assert isinstance(orders[0], Change)
    assert orders[0].fields["status"] is Status.FAILED
    assert calls(orders) == [("b", "g1", None)]
    (failed, *_) = plan.finished(0, "b", 1, FINAL, NOW, 0.5)
    assert isinstance(failed, Change)
    assert failed.fields["status"] is Status.FAILED


def test_a_task_that_is_retried_by_hand_begins_with_its_own_model() -> None:
    plan = plan_of([gate("g1", "big", "small")], 3, retry=RetrySettings(max_retries=0))
    inserted, *_ = plan.submit("a", big("small"), NOW)
    assert isinstance(inserted, Insert)
    record = inserted.record
    for attempt in (1, 2):
        for order in plan.finished(0, "a", attempt, HTTP_500, NOW, 0.5):
            if isinstance(order, Change):
                record = replace(record, **order.fields)
    assert (record.status, record.route) == (
        Status.FAILED,
        'big {"@else":["small"],"@gone":["big"]}',
    )

    orders = plan.revive(record, NOW)

    assert calls(orders) == [("a", "g1", None)]
    assert changes(orders) == ['big {"@else":["small"]}']


def test_what_no_backend_has_is_refused_or_waits_as_without_fallbacks() -> None:
    plan = plan_of([gate("g1", "x")], 3, scheduler=SchedulerSettings(model_wait=5))

    with pytest.raises(NotFound):
        plan.submit("a", draft(big("small").new, listed=True), NOW)
    assert submit(plan, big("small")) == []
    assert plan.next_due == NOW + 5
    (failed,) = plan.wake(NOW + 5)
    assert isinstance(failed, Change)
    assert failed.fields["error"] == (
        "no backend has the model big or its fallback small: g1 did not list one within 5 s "
        "(scheduler.model_wait)"
    )


def test_a_listed_fallback_is_enough() -> None:
    plan = plan_of([gate("g1", "small")], 3)

    assert submit(plan, draft(big("small").new, listed=True)) == [("a", "g1", "small")]


# --- it has waited ------------------------------------------------------------------------------


def test_after_a_while_the_next_one_may_take_it_and_then_one_more() -> None:
    plan = busy(gate("g1", "big"), gate("g2", "small"), gate("g3", "tiny"))
    assert submit(plan, big("small", "tiny")) == []

    assert free(plan, "g2", NOW + 29) == []
    assert plan.next_due == NOW + 30
    assert calls(plan.wake(NOW + 30)) == [("a", "g2", "small")]


def test_it_keeps_waiting_for_all_that_are_open_to_it() -> None:
    for name, fallback in (("g1", None), ("g2", "small"), ("g3", "tiny")):
        plan = busy(gate("g1", "big"), gate("g2", "small"), gate("g3", "tiny"))
        submit(plan, big("small", "tiny"))
        assert calls(plan.wake(NOW + 30)) == []
        assert calls(plan.wake(NOW + 60)) == []
        assert plan.next_due is None
        assert free(plan, name, NOW + 61) == [("a", name, fallback)]


def test_a_server_that_has_both_runs_the_fallback_then() -> None:
    plan = busy(gate("g1", "big", "small"))
    submit(plan, big("small"), big("small"))

    assert free(plan, "g1", NOW + 29) == [("a", "g1", None)]
    assert free(plan, "g1", NOW + 31) == [("b", "g1", "small")]


def test_the_settings_say_how_long() -> None:
    models = {"BIG:latest": ModelSettings(fallback=["small"], after=2.0)}
    plan = busy(gate("g1", "big"), gate("g2", "small"), models=models)
    own = [asked(model="big"), big("tiny"), big()]
    assert submit(plan, *own) == []

    assert free(plan, "g2", NOW + 1) == []
    assert calls(plan.wake(NOW + 2)) == [("a", "g2", "small")]


def test_null_waits_as_long_as_a_backend_has_the_model() -> None:
    models = {"big": ModelSettings(after=None)}
    plan = busy(gate("g1", "big"), gate("g2", "small"), models=models)
    submit(plan, big("small"))

    assert free(plan, "g2", NOW + 1) == []
    assert plan.next_due is None
    assert calls(plan.drain_backend("g1", True, NOW + 1)) == [("a", "g2", "small")]


def test_only_those_that_have_waited_are_taken() -> None:
    plan = busy(gate("g1", "big"), gate("g2", "small"))
    plan.submit("a", big("small"), NOW)
    plan.submit("b", big("small"), NOW + 10)
    assert calls(plan.wake(NOW + 30)) == []

    assert free(plan, "g2", NOW + 31) == [("a", "g2", "small")]
    assert free(plan, "g2", NOW + 32) == []
    assert calls(plan.wake(NOW + 40)) == [("b", "g2", "small")]


def test_it_keeps_its_place_among_the_tasks_of_the_fallback() -> None:
    plan = busy(gate("g1", "big"), gate("g2", "small"))
    plan.submit("x", asked(model="small"), NOW)
    plan.submit("a", big("small"), NOW + 1)
    plan.submit("y", asked(model="small"), NOW + 2)
    plan.submit("z", asked(model="small", priority=9), NOW + 3)
    plan.wake(NOW + 31)

    begun = [free(plan, "g2", NOW + 32 + n)[0][0] for n in range(4)]

    assert begun == ["z", "x", "a", "y"]


def test_a_pause_and_a_start_begin_the_wait_again() -> None:
    plan = busy(gate("g1", "big"), gate("g2", "small"))
    submit(plan, big("small"))
    plan.pause()
    plan.wake(NOW + 40)
    assert free(plan, "g2", NOW + 41) == []

    assert calls(plan.resume(NOW + 50)) == []
    assert plan.next_due == NOW + 80
    assert calls(plan.wake(NOW + 80)) == [("a", "g2", "small")]

    again = plan_of([gate("g1", "big", healthy=False, is_unseen=True), gate("g2", "small")], 2)
    run_steps(again.recover([plan.entries["a"]], [], [], [], NOW + 1000), never_yield)
    assert again.next_due == NOW + 1030


def test_a_set_clock_leaves_the_wait_as_long() -> None:
    for step in (3600.0, -3600.0):
        plan = busy(gate("g1", "big"), gate("g2", "small"))
        submit(plan, big("small"))
        free(plan, "g2", NOW + 1)

        assert calls(plan.clock_set(step, NOW + 20 + step)) == []
        assert plan.next_due == NOW + 30 + step
        assert calls(plan.wake(NOW + 30 + step)) == [("a", "g2", "small")]


def test_a_retry_counts_from_its_first_wait() -> None:
    plan = plan_of([gate("g1", "big"), gate("g2", "small")], 3)
    submit(plan, big("small"))
    plan.submit("b", asked(model="big"), NOW)

    plan.finished(0, "a", 1, CUT, NOW + 60, 0.5)

    assert calls(plan.wake(NOW + 70)) == [("a", "g2", "small")]


def test_it_explains_what_it_waits_for() -> None:
    plan = busy(gate("g1", "big"), gate("g2", "small"))
    submit(plan, big("small"), big("small"))
    plan.wake(NOW + 30)

    waits = explain(plan, ["a", "b"], NOW + 30)
    assert [(w.waiting_for, w.position) for w in waits.values()] == [
        (WaitingFor.SLOT, 0),
        (WaitingFor.SLOT, 1),
    ]
    for name in ("g1", "g2"):
        plan.drain_backend(name, True, NOW + 31)
    assert describe(plan, NOW + 31).waiting_for == {"backend": 2}
    (unserved,) = describe(plan, NOW + 31).unserved
    assert (unserved.model, unserved.tasks) == ("big", 2)
    assert unserved.reason == "g1 is drained, g2 is drained"
    assert len(reasons(plan, NOW + 31).shut) == 1


# --- embeddings, restrictions -------------------------------------------------------------------


def test_embeddings_have_no_fallbacks() -> None:
    models = {"big": ModelSettings(fallback=["small"])}
    plan = plan_of([gate("g1", "small")], 3, models=models)

    assert submit(plan, draft(embed_task("big", "x")), asked(model="big")) == [("b", "g1", "small")]


def test_fallbacks_are_not_followed_further() -> None:
    models = {"big": ModelSettings(fallback=["small"]), "small": ModelSettings(fallback=["tiny"])}
    plan = plan_of([gate("g1", "tiny")], 3, models=models)

    assert submit(plan, asked(model="big"), asked(model="small")) == [("b", "g1", "tiny")]


def test_a_fallback_runs_where_the_task_may_run() -> None:
    plan = plan_of([gate("g1", "big", healthy=False), gate("g2", "small"), gate("g3", "small")], 3)

    assert submit(plan, big("small", backend="g1"), big("small", backend="g3")) == [
        ("b", "g3", "small")
    ]
    tagged = plan_of([gate("g1", "big"), gate("g2", "small", tags=frozenset({"x"}))], 3)
    assert submit(tagged, big("small", backend="tag:x")) == [("a", "g2", "small")]


def test_the_runners_options_are_those_of_the_task() -> None:
    plan = plan_of([gate("g1", "small")], 3)
    submit(plan, big("small", options={"num_ctx": 8}))

    (state,) = plan.gates
    assert state.loaded == {"small": '{"num_ctx":8}'}


# --- remote backends ----------------------------------------------------------------------------

PATIENT = RemoteScheduling(after=10.0)


def test_a_remote_backend_takes_what_has_waited_for_a_local_one() -> None:
    plan = busy(gate("g1", "m"), gate("far", "m", remote=True), rules=PATIENT)
    assert submit(plan, asked(), asked()) == []

    assert free(plan, "far", NOW + 9) == []
    assert free(plan, "g1", NOW + 9) == [("a", "g1", None)]
    assert calls(plan.wake(NOW + 10)) == [("b", "far", None)]


@pytest.mark.parametrize("local", [{"healthy": False}, {"models": frozenset({"x"})}])
def test_it_takes_at_once_what_no_local_one_can_run(local: dict[str, Any]) -> None:
    plan = plan_of([gate("g1", "m", **local), gate("far", "m", remote=True)], 3, rules=PATIENT)

    assert submit(plan, asked()) == [("a", "far", None)]


def test_it_takes_at_once_what_asks_for_it() -> None:
    plan = plan_of([gate("g1", "m"), gate("far", "m", remote=True, parallel=2)], 3, rules=PATIENT)

    assert submit(plan, asked(remote_execution=True), asked(backend="far")) == [
        ("a", "far", None),
        ("b", "far", None),
    ]


def test_both_waits_add_up() -> None:
    gates = (gate("g1", "big"), gate("g2", "small"))
    far = [gate("f1", "big", remote=True), gate("f2", "small", remote=True)]
    for name, at, fallback in (
        ("f1", 10, None),
        ("g2", 30, "small"),
        ("f2", 40, "small"),
    ):
        plan = busy(*gates, *far, rules=PATIENT)
        gates, far = tuple(map(fresh, gates)), list(map(fresh, far))
        submit(plan, big("small"))
        assert free(plan, name, NOW + at - 1) == []
        assert calls(plan.wake(NOW + at)) == [("a", name, fallback)]


@pytest.mark.parametrize(("at", "fallback"), [(32, None), (41, "small")])
def test_both_waits_add_up_for_each_model_of_a_server(at: int, fallback: str | None) -> None:
    plan = busy(gate("g1", "big"), gate("far", "big", "small", remote=True), rules=PATIENT)
    submit(plan, big("small"))
    calls(plan.wake(NOW + at))

    assert free(plan, "far", NOW + at) == [("a", "far", fallback)]


def fresh(old: Gate) -> Gate:
    return gate(old.name, *(old.models or ()), remote=old.remote)


def test_without_the_policy_it_has_no_effect() -> None:
    rules = RemoteScheduling(after=10.0, local_first_policy=False)
    plan = plan_of([gate("g1", "m"), gate("far", "m", remote=True, priority=1)], 3, rules=rules)

    assert submit(plan, asked()) == [("a", "far", None)]
