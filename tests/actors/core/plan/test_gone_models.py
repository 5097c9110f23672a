"""A model that a backend listed, and that a call does not find there."""

from ollama_queue.actors.base.cooperation import never_yield, run_steps
from ollama_queue.actors.core.config.config import RetrySettings, SchedulerSettings
from ollama_queue.actors.core.model.entry import entry_of
from ollama_queue.actors.core.model.orders import Change, Insert, Order, Probe, Run
from ollama_queue.actors.core.model.outcomes import Answered, Failed, ProbeResult, Verdict
from ollama_queue.actors.core.model.tasks import Status, WaitingFor
from ollama_queue.actors.core.plan.explain import describe_one, explain
from ollama_queue.actors.core.plan.plan import Plan
from ollama_queue.actors.core.routing.gates import Gate
from tests.support.model_disk import ModelDisk
from tests.support.plans import NOW, asked, changes, plan_of

GONE = Failed("a answered 404: model 'm' not found", Verdict.NO_MODEL)
BOTH, OTHER = frozenset({"m", "other"}), frozenset({"other"})


def plan_with(**models: frozenset[str] | None) -> Plan:
    """A plan whose backends have these models; no task is tried again for any other reason."""
    gates = [Gate(name, "ollama", 1, models=listed) for name, listed in models.items()]
    settings = SchedulerSettings(model_wait=60.0)
    return plan_of(gates, len(gates), scheduler=settings, retry=RetrySettings(max_retries=0))


def end(plan: Plan, outcome: Failed | Answered = GONE, task_id: str = "x") -> list[Order]:
    running = plan.slots.running(task_id)
    assert running is not None
    return plan.finished(running.slot, task_id, running.attempt, outcome, NOW, 0.0)


def backends(orders: list[Order]) -> list[str]:
    return [order.backend for order in orders if isinstance(order, Run)]


def watched(orders: list[Order]) -> set[tuple[str, float]]:
    return {(o.backend, o.delay_s) for o in orders if isinstance(o, Probe)}


def test_its_task_goes_to_another_backend_and_spends_no_retry() -> None:
    plan = plan_with(a=BOTH, b=BOTH)
    plan.submit("x", asked(), NOW)

    orders = end(plan)

    assert changes(orders) == [("x", Status.PENDING), ("x", Status.RUNNING)]
    assert (backends(orders), watched(orders)) == (["b"], {("a", 0.0)})
    assert plan.entries["x"].retry_count == 0
    assert changes(end(plan, Answered(b"{}"))) == [("x", Status.COMPLETED)]


def test_or_waits_like_that_of_any_missing_model() -> None:
    plan = plan_with(a=BOTH, b=OTHER)
    plan.submit("x", asked(), NOW)

    assert watched(end(plan)) == {("a", 0.0), ("b", 0.0)}
    waiting = explain(plan, ["x"], NOW)["x"]
    assert waiting.waiting_for is WaitingFor.BACKEND
    assert plan.next_due == NOW + 60
    plan.probed("a", ProbeResult(models=OTHER), NOW + 1)
    (failed,) = plan.wake(NOW + 60)
    assert isinstance(failed, Change)
    assert failed.fields["error"] == (
        "no backend has the model m: a, b did not list it within 60 s (scheduler.model_wait)"
    )


def test_the_backend_has_it_no_more_until_its_next_look_and_is_well() -> None:
    plan = plan_with(a=BOTH)
    plan.submit("x", asked(), NOW)
    end(plan)

    state = describe_one(plan, "a", NOW)
    assert (state.models, state.loaded, state.healthy) == (["other"], [], True)
    assert backends(plan.submit("y", asked(), NOW)) == []
    assert backends(plan.submit("z", asked(model="other"), NOW)) == ["a"]
    end(plan, Answered(b"{}"), "z")
    plan.probed("a", ProbeResult(error="timeout"), NOW)  # which tells nothing
    assert backends(plan.probed("a", ProbeResult(models=BOTH), NOW)) == ["a"]
    assert describe_one(plan, "a", NOW).models == ["m", "other"]


def test_a_server_that_lists_it_and_refuses_it_again_fails_the_task() -> None:
    for listed in (BOTH, None):  # None: it cannot list them
        plan = plan_with(a=listed)
        plan.submit("x", asked(), NOW)
        end(plan)
        assert backends(plan.probed("a", ProbeResult(models=listed), NOW)) == ["a"]

        (failed, *_) = end(plan)

        assert isinstance(failed, Change)
        assert (failed.fields["status"], failed.fields["error"]) == (Status.FAILED, GONE.error)


def test_also_where_another_is_tried_in_between() -> None:
    plan = plan_with(a=BOTH, b=BOTH)
    calls = backends(plan.submit("x", asked(), NOW))
    while "x" in plan.entries:
        orders = end(plan)
        for name in "ab":
            orders += plan.probed(name, ProbeResult(models=BOTH), NOW)
        calls += backends(orders)

    assert calls == ["a", "b", "a"]


def test_also_over_a_crash() -> None:
    disk, plan = ModelDisk(), plan_with(a=BOTH)
    orders = plan.submit("x", asked(), NOW) + end(plan)
    for order in orders:
        if isinstance(order, Insert | Change):
            disk.save(order)
    plan = plan_with(a=BOTH)

    assert backends(
        run_steps(plan.recover([entry_of(disk.records["x"])], [], [], [], NOW), never_yield)
    ) == ["a"]
    assert changes(end(plan)) == [("x", Status.FAILED)]


def test_a_pinned_model_comes_back_with_the_next_look() -> None:
    gate = Gate("a", "openai", 1, models=frozenset({"m"}), is_pinned=True)
    plan = plan_of([gate])
    plan.submit("x", asked(), NOW)

    assert backends(end(plan)) == []
    assert backends(plan.probed("a", ProbeResult(models=None), NOW)) == ["a"]
