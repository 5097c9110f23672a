"""Explains why tasks wait, their position and estimated start; describes slots and backends."""

from collections import Counter
from collections.abc import Iterable

from ..model.entry import Entry
from ..model.stats import BackendState, PlanState, Unserved, Waiting
from ..model.task_filter import WaitReasons
from ..model.tasks import WaitingFor
from ..routing.lanes import Lane
from ..routing.routes import read_route
from .estimates import Forecast
from .plan import Plan
from .settle import utc

MOST_MODELS = 20  # listed as waiting for a backend
MOST_KINDS = 1000  # queues per lane examined for that list


def explain(plan: Plan, task_ids: Iterable[str], now: float) -> dict[str, Waiting]:
    """Why each waiting task of `task_ids` waits; others are left out."""
    forecast = Forecast(plan.waiting, plan.slots, plan.dispatch.durations, now)
    shut = _shut_lanes(plan, now)
    waits = {}
    for task_id in task_ids:
        entry = plan.entries.get(task_id)
        if entry is not None and plan.slots.running(task_id) is None:
            reason = _reason(plan, entry, shut)
            eta_s = _eta(forecast, entry, reason, now)
            again = utc(entry.due) if entry.attempt and entry.due > 0 else None
            waits[task_id] = Waiting(reason, plan.waiting.position(entry), eta_s, again)
    return waits


def _reason(plan: Plan, entry: Entry, shut: frozenset[Lane]) -> WaitingFor:
    if plan.paused:
        return WaitingFor.PAUSED
    reason = plan.waiting.reason(entry)
    if reason is WaitingFor.SLOT and plan.waiting.lane(entry) in shut:
        return WaitingFor.BACKEND
    return reason


def _eta(forecast: Forecast, entry: Entry, reason: WaitingFor, now: float) -> float | None:
    match reason:
        case WaitingFor.SLOT:
            return forecast.start_of(entry)
        case WaitingFor.SCHEDULE | WaitingFor.RETRY:
            return round(max(entry.due - now, 0.0), 3)
        case WaitingFor.BACKEND | WaitingFor.PAUSED:
            return None


def reasons(plan: Plan, now: float) -> WaitReasons:
    """What is needed to tell of any task why it waits."""
    waiting = plan.waiting
    shut = _shut_lanes(plan, now)
    routes = frozenset(
        route
        for route, lane in waiting.routes.items()
        if lane in shut or (lane.later and lane.is_shut(now))
    )
    return WaitReasons(now, plan.paused, routes, _counts(plan, shut))


def _shut_lanes(plan: Plan, now: float) -> frozenset[Lane]:
    return frozenset(lane for lane in plan.waiting.lanes if lane.is_shut(now))


def _counts(plan: Plan, shut: Iterable[Lane]) -> dict[str, int]:
    """How many tasks wait, by reason."""
    waiting = plan.waiting
    counts = {reason.value: count for reason, count in waiting.reasons.items()}
    if plan.paused:
        counts = {WaitingFor.PAUSED.value: sum(counts.values())}
    elif without := sum(sum(waiting.sizes(lane).values()) for lane in shut):
        counts[WaitingFor.SLOT.value] -= without
        counts[WaitingFor.BACKEND.value] = without
    return {reason: count for reason, count in counts.items() if count}


def _unserved(plan: Plan, shut: Iterable[Lane], now: float) -> list[Unserved]:
    """The models that tasks in these lanes wait for, those with most tasks first."""
    counts: Counter[tuple[str, str]] = Counter()
    for lane in shut:
        for key, length in plan.waiting.lengths(lane, MOST_KINDS):
            route = read_route(key.route)
            counts[route.model, plan.gates.why_shut(lane, route, now)] += length
    return [Unserved(model, count, why) for (model, why), count in counts.most_common(MOST_MODELS)]


def due_by_model(plan: Plan) -> dict[str, int]:
    """The number of due tasks of each model; of a sample of the queues, if there are very many."""
    counts: Counter[str] = Counter()
    for lane in plan.waiting.lanes:
        for key, length in plan.waiting.lengths(lane, MOST_KINDS):
            counts[read_route(key.route).model] += length
    return dict(counts)


def describe(plan: Plan, now: float, tenant: str | None = None) -> PlanState:
    """The state of slots and backends, and why tasks wait; with a `tenant`, its tasks alone."""
    if tenant is not None:
        return _describe_tenant(plan, now, tenant)
    waiting, shut = plan.waiting, _shut_lanes(plan, now)
    return PlanState(
        active=len(plan.slots),
        idle=plan.slots.free,
        paused=plan.paused,
        waiting_for=_counts(plan, shut),
        backends=[gate.state(now) for gate in plan.gates],
        oldest=waiting.oldest,
        scheduled=waiting.reasons.get(WaitingFor.SCHEDULE, 0),
        unserved=[] if plan.paused else _unserved(plan, shut, now),
    )


def _describe_tenant(plan: Plan, now: float, tenant: str) -> PlanState:
    waiting = plan.waiting
    shut = _shut_lanes(plan, now)
    counts = {reason.value: count for reason, count in waiting.of_tenant(tenant).items()}
    scheduled = counts.get(WaitingFor.SCHEDULE.value, 0)
    unserved: Counter[tuple[str, str]] = Counter()
    oldest: list[float] = []
    without = 0
    for head, length, lane in waiting.lines_of(tenant):
        oldest.append(head.queued_at)
        if lane in shut:
            route = read_route(head.route)
            unserved[route.model, plan.gates.why_shut(lane, route, now)] += length
            without += length
    if plan.paused:
        counts = {WaitingFor.PAUSED.value: sum(counts.values())}
    elif without:
        counts[WaitingFor.SLOT.value] -= without
        counts[WaitingFor.BACKEND.value] = without
    most = unserved.most_common(MOST_MODELS)
    return PlanState(
        active=sum(running.entry.tenant == tenant for running in plan.slots),
        idle=plan.slots.free,
        paused=plan.paused,
        waiting_for={reason: count for reason, count in counts.items() if count},
        backends=[gate.state(now) for gate in plan.gates],
        oldest=min(oldest, default=None),
        scheduled=scheduled,
        unserved=[] if plan.paused else [Unserved(m, count, why) for (m, why), count in most],
    )


def describe_one(plan: Plan, backend: str, now: float) -> BackendState:
    """The state of one backend, which must exist."""
    return next(gate.state(now) for gate in plan.gates if gate.name == backend)
