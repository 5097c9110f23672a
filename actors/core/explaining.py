"""Why tasks wait, where they stand and when they may start; how slots and backends are."""

from collections.abc import Iterable

from ollama_queue.actors.core.entries import Entry
from ollama_queue.actors.core.estimates import Forecast
from ollama_queue.actors.core.figures import BackendState, PlanState, Waiting
from ollama_queue.actors.core.plan import Plan
from ollama_queue.actors.core.records import WaitingFor


def explain(plan: Plan, task_ids: Iterable[str], now: float) -> dict[str, Waiting]:
    """Why those of the tasks that wait do so."""
    forecast = Forecast(plan.waiting, plan.slots, plan.dispatch.durations, now)
    found = {}
    for task_id in task_ids:
        entry = plan.entries.get(task_id)
        if entry is not None and plan.slots.running(task_id) is None:
            reason = _reason(plan, entry, now)
            eta_s = _eta(forecast, entry, reason, now)
            found[task_id] = Waiting(reason, plan.waiting.position(entry), eta_s)
    return found


def _reason(plan: Plan, entry: Entry, now: float) -> WaitingFor:
    if plan.paused:
        return WaitingFor.PAUSED
    reason = plan.waiting.reason(entry)
    if reason is WaitingFor.SLOT and plan.waiting.lane(entry.route).is_shut(now):
        return WaitingFor.BACKEND
    return reason


def _eta(forecast: Forecast, entry: Entry, reason: WaitingFor, now: float) -> float | None:
    match reason:
        case WaitingFor.SLOT:
            return forecast.start_of(entry)
        case WaitingFor.SCHEDULE | WaitingFor.RETRY:
            return round(max(entry.due - now, 0.0), 3)
    return None


def describe(plan: Plan, now: float) -> PlanState:
    """A look at slots, backends and reasons to wait."""
    room = plan.waiting
    reasons = {reason.value: count for reason, count in room.reasons.items()}
    shut = sum(sum(room.sizes(lane).values()) for lane in room.lanes if lane.is_shut(now))
    if plan.paused:
        reasons = {WaitingFor.PAUSED.value: sum(reasons.values())} if reasons else {}
    elif shut:
        reasons[WaitingFor.SLOT.value] -= shut
        reasons[WaitingFor.BACKEND.value] = shut
    return PlanState(
        active=len(plan.slots),
        idle=plan.slots.free,
        paused=plan.paused,
        waiting_for={reason: count for reason, count in reasons.items() if count},
        backends=[gate.state(now) for gate in plan.gates],
        oldest=room.oldest,
        scheduled=room.reasons.get(WaitingFor.SCHEDULE, 0),
    )


def describe_one(plan: Plan, backend: str, now: float) -> BackendState:
    """A look at one backend, which there is."""
    return next(gate.state(now) for gate in plan.gates if gate.name == backend)
