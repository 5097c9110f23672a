"""What actors measure of themselves, for a monitoring system."""

from msgspec import Struct

from ..model.stats import Counts, PlanState
from .distribution import Distribution
from .tallies import KindTally


class PlanMeasures(Struct, frozen=True):
    """The plan's state; the due tasks that wait, by model (of a sample, if there are very many);
    failed calls, by backend and reason; and how many workers were replaced."""

    state: PlanState
    due: dict[str, int]
    failures: dict[str, dict[str, int]]
    replaced: int


class BusMeasures(Struct, frozen=True):
    """Counts by model and backend since the start, and who reads: `subscribers` of events,
    `streams` kept, of `stream_bytes` together. `throughput` is as in the status."""

    tallies: list[KindTally]
    throughput: float
    subscribers: int
    streams: int
    stream_bytes: int


class DiskMeasures(Struct, frozen=True):
    """The stored tasks, and the durations of fsyncs since the start."""

    counts: Counts
    syncs: Distribution


class FleetMeasures(Struct, frozen=True):
    """Of one server among several: whether it leads, the number of the present lead over all of
    them (0: unknown), how often this one has begun to lead, and how many servers there are."""

    leads: bool
    epoch: int
    takeovers: int
    servers: int


class WebhookMeasures(Struct, frozen=True):
    """How many deliveries wait, as of the last search for due ones, None if unknown; and attempts
    since the start by what came of them: "delivered", "retried" or "failed"."""

    waiting: int | None
    attempts: dict[str, int]


class QueueMeasures(Struct, frozen=True):
    """All of these together. `mailboxes`: messages that wait, by actor; `restarts` of the actors
    since the process started; `free_bytes` of the disk, None if unknown."""

    plan: PlanMeasures
    bus: BusMeasures
    disk: DiskMeasures
    webhooks: WebhookMeasures
    mailboxes: dict[str, int]
    restarts: int
    hub_gap_ms: float | None
    free_bytes: int | None
