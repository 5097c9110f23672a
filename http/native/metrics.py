"""The page of `/metrics`: what the actors measured, as metric families of Prometheus's library.

Imported with the first scrape. No label holds text of users: models are those that a backend has
listed (50, others are "other"), backends those of the configuration.
"""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric

from ollama_queue import __version__

from ...actors.core.activity.distribution import Distribution
from ...actors.core.activity.measures import FleetMeasures, QueueMeasures
from ...actors.core.activity.tallies import OTHER
from ...actors.core.model.model_names import model_name
from ...actors.core.model.tasks import Status

PREFIX = "ollama_queue_"
DURATIONS = range(-6, 14)  # of waits and runs: 16 ms to 2.3 hours, in powers of two
SYNCS = range(-13, 4)  # 0.1 ms to 8 s
DELIVERY_OUTCOMES = ("delivered", "retried", "failed")
NONE = "none"  # the backend of tasks that have not been started

_process = ProcessCollector(registry=None)  # registered nowhere: it is asked here


class _Families:
    """What `generate_latest` writes."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def page(
    measures: QueueMeasures | None,
    connections: Mapping[str, int],
    fleet: FleetMeasures | None = None,
) -> bytes:
    """The page in Prometheus's text format; `connections` are those open now, by kind. Of one
    server among several, `measures` are those of the one that leads."""
    return generate_latest(_Families(families(measures, connections, fleet)))


def families(
    measures: QueueMeasures | None,
    connections: Mapping[str, int],
    fleet: FleetMeasures | None = None,
) -> Iterator[Metric]:
    yield InfoMetricFamily(PREFIX + "build", "The version.", {"version": __version__})
    if measures is not None:
        yield from _tasks(measures)
        yield from _totals(measures)
        yield from _backends(measures)
        yield from _deliveries(measures)
        yield from _actors(measures)
    if fleet is not None:
        yield from _fleet(fleet)
    yield _gauge("connections", "Open connections by kind.", "kind", connections)
    yield from _process.collect()


def _gauge(name: str, about: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(PREFIX + name, about, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _plain(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, about, value)


def _counter(name: str, about: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, about, labels=list(labels))


def _add_histogram(
    family: HistogramMetricFamily, labels: list[str], values: Distribution, exponents: range
) -> None:
    counts = values.up_to(exponents)
    bounds = [repr(2.0**exponent) for exponent in exponents]
    buckets = [*zip(bounds, counts, strict=True), ("+Inf", values.count)]
    family.add_metric(labels, buckets, values.total)


# --- tasks --------------------------------------------------------------------------------------


def _tasks(measures: QueueMeasures) -> Iterator[Metric]:
    counts, state = measures.disk.counts, measures.plan.state
    yield _gauge(
        "stored_tasks",
        "Stored tasks by status.",
        "status",
        {status.value: counts.total(status) for status in Status},
    )
    pending = counts.by_status.get(Status.PENDING, {})
    levels = {str(level): pending.get(level, 0) for level in range(1, 16)}
    yield _gauge("pending_tasks", "Pending tasks by priority.", "priority", levels)
    yield _gauge("waiting_tasks", "Pending tasks by why they wait.", "reason", state.waiting_for)
    yield _gauge("due_tasks", "Waiting tasks that are due, by model.", "model", _due(measures))
    yield _plain("scheduled_tasks", "Tasks that wait for their time.", state.scheduled)
    yield _plain("paused", "1 while no task is started.", state.paused)
    full = "1 while nothing can be changed, as on a full disk."
    yield _plain("read_only", full, state.read_only is not None)
    if state.oldest is not None:
        yield _plain(
            "oldest_queued_timestamp_seconds",
            "When the due task that has waited longest was queued, in seconds since 1970.",
            state.oldest,
        )
    pace = measures.bus.throughput
    yield _plain("throughput", "Tasks that ended in the last minute, a second.", pace)


def _due(measures: QueueMeasures) -> dict[str, float]:
    """Due tasks by model: those that have counts of their own, and all others together."""
    named = {each.model for each in measures.bus.tallies}
    due: dict[str, float] = {}
    for model, count in measures.plan.due.items():
        name = model_name(model)
        name = name if name in named else OTHER
        due[name] = due.get(name, 0) + count
    return due


def _totals(measures: QueueMeasures) -> Iterator[Metric]:
    where = ("model", "backend")
    submitted = _counter("tasks_submitted", "Submitted tasks.", "model")
    ended = _counter("tasks_ended", "Tasks that ended.", *where, "status")
    retried = _counter("tasks_retried", "Attempts that ended, and the task waited again.", *where)
    expired = _counter("tasks_expired", "Failed tasks that were late.", *where)
    tokens = _counter("tokens", "Tokens of completed tasks.", *where, "kind")
    waits = HistogramMetricFamily(
        PREFIX + "wait_seconds", "Waits until the first start.", labels=["model", "backend"]
    )
    runs = HistogramMetricFamily(
        PREFIX + "run_seconds", "Durations of completed calls.", labels=["model", "backend"]
    )
    for each in measures.bus.tallies:
        tally, labels = each.tally, [each.model, each.backend or NONE]
        if tally.submitted:
            submitted.add_metric([each.model], tally.submitted)
        for status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED):
            if count := getattr(tally, status.value):
                ended.add_metric([*labels, status.value], count)
        if tally.retried:
            retried.add_metric(labels, tally.retried)
        if tally.expired:
            expired.add_metric(labels, tally.expired)
        if tally.completed:
            tokens.add_metric([*labels, "prompt"], tally.prompt_tokens)
            tokens.add_metric([*labels, "reply"], tally.tokens)
        if tally.waits.count:
            _add_histogram(waits, labels, tally.waits, DURATIONS)
        if tally.runs.count:
            _add_histogram(runs, labels, tally.runs, DURATIONS)
    yield from (submitted, ended, retried, expired, tokens, waits, runs)


def _fleet(fleet: FleetMeasures) -> Iterator[Metric]:
    yield _plain("leads", "1 for the server that leads the queue.", fleet.leads)
    yield _plain("lead_epoch", "The number of the present lead, 0 if unknown.", fleet.epoch)
    yield CounterMetricFamily(
        PREFIX + "takeovers", "How often this server has begun to lead.", fleet.takeovers
    )
    yield _plain("servers", "Servers that share the queue.", fleet.servers)


def _deliveries(measures: QueueMeasures) -> Iterator[Metric]:
    if measures.webhooks.waiting is not None:
        about = "Webhooks' deliveries that wait, or are being made."
        yield _plain("waiting_deliveries", about, measures.webhooks.waiting)
    attempts = _counter("delivery_attempts", "Attempts of deliveries by outcome.", "outcome")
    for outcome in DELIVERY_OUTCOMES:
        attempts.add_metric([outcome], measures.webhooks.attempts.get(outcome, 0))
    yield attempts


# --- backends and actors ------------------------------------------------------------------------


def _backends(measures: QueueMeasures) -> Iterator[Metric]:
    backends = measures.plan.state.backends

    def gauge(name: str, about: str, values: Iterable[float]) -> GaugeMetricFamily:
        names = (backend.name for backend in backends)
        return _gauge(f"backend_{name}", about, "backend", dict(zip(names, values, strict=True)))

    yield gauge("healthy", "1 if a model server is healthy.", (b.healthy for b in backends))
    yield gauge("drained", "1 if it gets no calls, as asked.", (b.drained for b in backends))
    yield gauge("running_calls", "Calls that run.", (b.running for b in backends))
    yield gauge("parallel_calls", "Calls that may run at once.", (b.parallel for b in backends))
    calls = _counter("backend_calls", "Calls that ended.", "backend")
    failures = _counter("backend_failures", "Failed calls by what that means.", "backend", "reason")
    tokens = _counter("backend_tokens", "Tokens that it generated.", "backend")
    for backend in backends:
        calls.add_metric([backend.name], backend.calls)
        tokens.add_metric([backend.name], backend.tokens)
        for reason, count in measures.plan.failures.get(backend.name, {}).items():
            failures.add_metric([backend.name, reason], count)
    yield from (calls, failures, tokens)


def _actors(measures: QueueMeasures) -> Iterator[Metric]:
    state, bus = measures.plan.state, measures.bus
    workers = {"active": state.active, "idle": state.idle}
    yield _gauge("workers", "Slots for calls, by whether one runs.", "state", workers)
    yield _gauge(
        "mailbox_messages", "Messages that an actor has not read.", "actor", measures.mailboxes
    )
    yield CounterMetricFamily(
        PREFIX + "restarts", "Restarts of the actors after a crash.", measures.restarts
    )
    yield CounterMetricFamily(
        PREFIX + "workers_replaced", "Workers that crashed or hung.", measures.plan.replaced
    )
    syncs = HistogramMetricFamily(PREFIX + "fsync_seconds", "Durations of fsyncs.", labels=[])
    _add_histogram(syncs, [], measures.disk.syncs, SYNCS)
    yield syncs
    yield _plain("event_subscribers", "Readers of events.", bus.subscribers)
    yield _plain("streams", "Replies kept for readers.", bus.streams)
    yield _plain("stream_bytes", "Their size.", bus.stream_bytes)
    if measures.free_bytes is not None:
        yield _plain("disk_free_bytes", "Free space of the data folder.", measures.free_bytes)
    if measures.hub_gap_ms is not None:
        yield _plain(
            "hub_gap_seconds",
            "The longest time of the last minute in which no connection was served.",
            measures.hub_gap_ms / 1000,
        )
