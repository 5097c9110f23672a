"""A scheduler between recorders: the test calls it, its messages are recorded."""

import random
from typing import Any, cast

from ollama_queue.actors.base.actor import Ref
from ollama_queue.actors.base.clock import Clock
from ollama_queue.actors.base.inbox import Envelope
from ollama_queue.actors.core.intake.submission import draft, generate_task
from ollama_queue.actors.core.messages import Commit, CommitChange, Finished
from ollama_queue.actors.core.messages.replies import Recovered
from ollama_queue.actors.core.model.outcomes import Answered, Outcome
from ollama_queue.actors.core.routing.gates import Gate
from ollama_queue.actors.scheduler import Scheduler
from tests.support.plans import plan_of
from tests.support.recorders import START, Recorder

DONE = Answered(b"{}")
NOTHING = Recovered([], [], [], {}, 0)


class RecordingSpawner:
    """Spawns recorders that share one log."""

    def __init__(self, log: list[tuple[str, Any]]) -> None:
        self.log = log
        self.workers: list[Recorder] = []
        self.dismissed: list[Recorder] = []
        self.reports: list[Any] = []
        self.prober = Recorder("prober", log)

    def spawn_worker(self, slot: int, scheduler: Ref, report: Any) -> Any:
        worker = Recorder(f"worker {slot}", self.log)
        self.workers.append(worker)
        self.reports.append(report)
        return worker

    def spawn_prober(self, scheduler: Ref) -> Any:
        return self.prober

    def dismiss(self, worker: Any) -> None:
        self.dismissed.append(worker)


class PassingOn(Recorder):
    """Persistence: records, and passes calls on to their workers."""

    def put(self, envelope: Envelope) -> None:
        super().put(envelope)
        for worker, order in getattr(envelope.message, "calls", ()):
            worker.put(Envelope(order))


class SchedulerHarness:
    """A scheduler that is not started: `handle` is called by hand."""

    def __init__(
        self, *, slots: int = 1, recovered: Recovered = NOTHING, last_us: int = 0, **limits: int
    ) -> None:
        self.now, self.lead = START.timestamp(), 0.0
        if last_us:
            recovered = Recovered([], [], [], {}, last_us)
        self.log: list[tuple[str, Any]] = []
        self.spawner = RecordingSpawner(self.log)
        self.persistence = PassingOn("persistence", self.log)
        gate = Gate("ollama", "openai", parallel=slots)
        self.scheduler = Scheduler(
            lambda text: None,
            plan=plan_of([gate], slots, **limits),
            recovered=recovered,
            persistence=cast(Ref, self.persistence),
            spawner=self.spawner,
            clock=Clock(lambda: self.now, lambda: self.now - self.lead),
            chance=random.Random(1),
        )
        self.due: list[float | None] = []
        self.scheduler.wake_at = self.due.append  # type: ignore[method-assign, assignment]
        self.scheduler.on_start()

    def set_clock(self, step: float) -> None:
        """Make the wall clock jump, while no time passes."""
        self.now += step
        self.lead += step

    def handle(self, message: Any) -> Any:
        return self.scheduler.handle(message)

    def submit(self, prompt: str = "hi", key: str | None = None, **fields: Any) -> str:
        """Submit a task; returns its id."""
        self.handle(draft(generate_task("smollm2", prompt, **fields), key))
        return str(self.commits[-1].reply.task_id)

    def finish(self, task: str, outcome: Outcome = DONE, slot: int = 0, attempt: int = 1) -> None:
        self.handle(Finished(slot, task, attempt, outcome))

    @property
    def commits(self) -> list[Any]:
        told = self.persistence.told
        return [message for message in told if isinstance(message, Commit | CommitChange)]

    def since(self, mark: int) -> list[tuple[str, str]]:
        """The log from position `mark` on: recipients and messages."""
        return [(name, type(message).__name__) for name, message in self.log[mark:]]
