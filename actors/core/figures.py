"""What is told of the queue as a whole: counts, waits, backends."""

from msgspec import Struct, field

from ollama_queue.actors.core.records import Status, Task, WaitingFor


class Waiting(Struct, frozen=True):
    """What the plan knows of a pending task."""

    waiting_for: WaitingFor
    position: int | None
    eta_s: float | None = None


class BackendState(Struct, frozen=True, kw_only=True):
    """One model server, as the plan sees it: `running` of at most `parallel` calls.

    `models` None: it has not said yet, or cannot say, which it has. `loaded` are the models in its
    memory, as far as known. `resting_s`: it asked to be left alone for so long. Counts and figures
    are since the queue started: `calls` and `failures` ended, `tokens` generated, at
    `tokens_per_s` while it generated; `wait_s` is the mean time that its tasks had waited.
    """

    name: str
    type: str
    healthy: bool
    running: int
    parallel: int
    error: str | None = None
    drained: bool = False
    remote: bool = False
    priority: int = 0
    tags: list[str] = []
    version: str | None = None
    models: list[str] | None = None
    loaded: list[str] = []
    resting_s: float | None = None
    calls: int = 0
    failures: int = 0
    tokens: int = 0
    tokens_per_s: float | None = None
    wait_s: float | None = None


class PlanState(Struct, frozen=True):
    """A look at slots, backends and reasons to wait."""

    active: int
    idle: int
    paused: bool
    waiting_for: dict[str, int]
    backends: list[BackendState]


class QueueStats(Struct, frozen=True, kw_only=True):
    """How the queue is doing. `queues_by_priority` and `waiting_for` count waiting tasks."""

    pending_tasks: int
    running_tasks: int
    completed_tasks: int
    failed_tasks: int
    cancelled_tasks: int
    total_tasks: int
    queues_by_priority: dict[str, int]
    waiting_for: dict[str, int]
    workers_active: int
    workers_idle: int
    paused: bool
    backends: list[BackendState]
    uptime_s: float
    version: str


class Snapshot(Struct, frozen=True):
    """How things stand when a feed of events begins: all later events have a higher `seq`."""

    seq: int
    stats: QueueStats
    tasks: list[Task]


class Counts(Struct, kw_only=True):
    """How many tasks are stored, by status and priority."""

    by_status: dict[str, dict[int, int]] = field(default_factory=dict)

    def copy(self) -> "Counts":
        """As they are now."""
        return Counts(by_status={name: dict(levels) for name, levels in self.by_status.items()})

    def total(self, status: Status) -> int:
        return sum(self.by_status.get(status, {}).values())
