"""A model disk that a plan's saves are applied to, and brute-force queries on it."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from msgspec.structs import replace

from ollama_queue.actors.core.model.entry import Entry, KeyUse, entry_of
from ollama_queue.actors.core.model.lifecycle import EVENT, NEXT
from ollama_queue.actors.core.model.orders import Change, DropKey, Insert, Save, SetFlag
from ollama_queue.actors.core.model.outcomes import Answered, Failed, Outcome, Stopped, Verdict
from ollama_queue.actors.core.model.tasks import Record, Status
from ollama_queue.actors.core.plan.idempotency import KEEP_S
from ollama_queue.actors.core.plan.settle import cut_attempt


def due_of(record: Record) -> float:
    """When a pending task can run; 0 for at once."""
    return entry_of(record).due


def order_of(record: Record) -> tuple[int, float, str]:
    """Sort key: higher priority first, then older."""
    return (-record.priority, record.queued_at.timestamp(), record.id)


class ModelDisk:
    """Applies saves one by one, and rejects those that no plan may order."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.results: dict[str, bytes] = {}
        self.keys: dict[bytes, KeyUse] = {}
        self.paused = False

    def save(self, order: Save) -> None:
        match order:
            case Insert(record, spec, body):
                assert record.id not in self.records
                assert (record.status, record.size) == (Status.PENDING, len(spec))
                self.records[record.id] = record
                if record.key is not None:
                    accepted_at = record.created_at.timestamp()
                    self.keys[record.key] = KeyUse(record.id, body, accepted_at)
            case Change():
                self.change(order)
            case SetFlag("paused", value, event):
                assert event == ("queue_paused" if value else "queue_resumed")
                self.paused = value
            case DropKey(key):
                del self.keys[key]
            case _:
                pass

    def change(self, change: Change) -> None:
        was = self.records[change.task_id]
        assert not was.status.is_final, "what has ended stays as it ended"
        facts = dict(change.fields)
        if "status" in facts:
            assert facts["status"] in NEXT[was.status]
            assert change.event == EVENT[facts["status"]]
        if change.cut is not None:
            assert (was.status, change.ended) == (Status.RUNNING, None)
            assert was.started_at is not None
            ended = cut_attempt(was, change.cut, was.started_at)
            facts["attempts"] = [*was.attempts, ended]
        if change.ended is not None:
            assert was.status is Status.RUNNING
            assert change.ended.attempt == was.attempt
            facts["attempts"] = [*was.attempts, change.ended]
        if change.result is not None:
            assert facts["status"] is Status.COMPLETED
            self.results[change.task_id] = change.result
        now = self.records[change.task_id] = replace(was, **facts)
        whole = was.status is not Status.RUNNING or now.status is Status.CANCELLED
        assert whole or now.status is Status.RUNNING or len(now.attempts) == was.attempt
        assert was.retry_count <= now.retry_count <= now.max_retries
        assert was.interruptions <= now.interruptions <= 4
        assert now.interruptions <= 3 or now.status is Status.FAILED
        assert now.status is Status.PENDING or now.next_attempt_at is None
        assert now.status.is_final == (now.completed_at is not None)

    def clock_set(self, step: float) -> None:
        """Shift stored times as if the clock had been right before."""
        by = timedelta(seconds=step)
        for record in list(self.records.values()):
            if record.status.is_final:
                continue
            is_for_then = not record.attempt and record.queued_at == record.scheduled_at
            again = record.next_attempt_at
            self.records[record.id] = replace(
                record,
                queued_at=record.queued_at if is_for_then else record.queued_at + by,
                next_attempt_at=None if again is None else again + by,
            )
        for key, keyed in self.keys.items():
            self.keys[key] = replace(keyed, accepted_at=keyed.accepted_at + step)

    # --- what follows from it -------------------------------------------------------------------

    def having(self, status: Status) -> Iterator[Record]:
        return (record for record in self.records.values() if record.status is status)

    def entries(self, status: Status) -> Iterator[Entry]:
        """The entries of tasks with this status, as a boot reads them."""
        return map(entry_of, self.having(status))

    def ripe(self, now: float) -> list[Record]:
        """Due pending tasks, in the order in which they should run."""
        return sorted((r for r in self.having(Status.PENDING) if due_of(r) <= now), key=order_of)

    def position(self, task_id: str, now: float) -> int | None:
        """How many due tasks of its route are ahead of this one."""
        route = self.records[task_id].route
        ids = [record.id for record in self.ripe(now) if record.route == route]
        return ids.index(task_id) if task_id in ids else None

    def reason(self, record: Record, now: float, healthy: bool) -> str:
        if self.paused:
            return "paused"
        if due_of(record) > now:
            return "retry" if record.attempt else "schedule"
        return "slot" if healthy else "backend"

    def reasons(self, now: float, healthy: bool) -> dict[str, int]:
        return dict(Counter(self.reason(r, now, healthy) for r in self.having(Status.PENDING)))

    def has_ended(self, task_id: str) -> bool:
        return self.records[task_id].status.is_final

    def waiting_bytes(self) -> int:
        return sum(record.size for record in self.having(Status.PENDING))

    def find(self, key: bytes, now: float) -> KeyUse | None:
        """The use of an idempotency key, if valid."""
        keyed = self.keys.get(key)
        if keyed is None:
            return None
        lives = not self.records[keyed.task_id].status.is_final
        return keyed if lives or now < keyed.accepted_at + KEEP_S else None


def is_late(record: Record, now: float) -> bool:
    """Whether a live task has passed its deadline, or its time to start."""
    if record.deadline is not None and record.deadline.timestamp() <= now:
        return True
    if record.start_within is None or record.attempt:
        return False
    since = max(record.queued_at, record.scheduled_at or record.queued_at)
    return since.timestamp() + record.start_within <= now


def settled(was: Record, outcome: Outcome, again: float) -> tuple[Status, int]:
    """The status and retry count of a task after this outcome; a retry is due `again`."""
    match outcome:
        case Answered():
            return Status.COMPLETED, was.retry_count
        case Stopped() | Failed(verdict=Verdict.REFUSED):
            return Status.PENDING, was.retry_count
        case Failed(verdict=verdict):
            is_too_late = was.deadline is not None and was.deadline.timestamp() <= again
            if verdict is Verdict.FINAL or was.retry_count == was.max_retries or is_too_late:
                return Status.FAILED, was.retry_count
            return Status.PENDING, was.retry_count + 1


class ModelFailures:
    """When calls make a backend unavailable, or only have it probed.

    A refusal makes it unavailable, and so does the third cut in a row. Other failures of three
    different tasks, without a success between them, have it probed.
    """

    def __init__(self) -> None:
        self.in_a_row = 0
        self.suspects: set[str] = set()

    def put_out(self, task_id: str, outcome: Outcome) -> bool:
        if isinstance(outcome, Failed) and outcome.verdict is not Verdict.FINAL:
            if outcome.verdict not in (Verdict.REFUSED, Verdict.CUT):
                self.suspects.add(task_id)
                return False
            self.in_a_row += 1
            return outcome.verdict is Verdict.REFUSED or self.in_a_row >= 3
        if not isinstance(outcome, Stopped):
            self.__init__()  # type: ignore[misc]
        return False

    @property
    def is_suspect(self) -> bool:
        return len(self.suspects) >= 3
