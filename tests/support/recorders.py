"""Small recording stand-ins for the collaborators of a single actor under test."""

import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from queue import Queue
from typing import Any

import msgspec

from ollama_queue.actors.base.actor import Ref
from ollama_queue.actors.base.inbox import Envelope, Future
from ollama_queue.actors.base.thread_pool import OnDone, attempt
from ollama_queue.actors.core.messages.command import Command, Reply
from ollama_queue.actors.core.model.errors import QueueError
from ollama_queue.actors.core.model.lifecycle import become
from ollama_queue.actors.core.model.orders import Change, Insert
from ollama_queue.actors.core.model.outcomes import (
    Answered,
    BackendReply,
    Failed,
    Outcome,
    ProbeResult,
    Stopped,
    Verdict,
)
from ollama_queue.actors.core.model.tasks import Attempt, Record, Spec, Status, TaskType
from ollama_queue.actors.store.commit_group import HiddenTasks
from ollama_queue.actors.store.encoding import encode

PATIENCE_S = 5.0
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Recorder:
    """Receives messages like an actor's ref, and records them. `answer` makes the replies."""

    def __init__(
        self,
        name: str = "",
        log: list[tuple[str, Any]] | None = None,
        answer: Callable[[Any], Any] | None = None,
    ) -> None:
        self.actor_inbox = self
        self.name, self.log, self.answer = name, [] if log is None else log, answer
        self.mail: list[Envelope] = []
        self._changed = threading.Condition()

    def put(self, envelope: Envelope) -> None:
        with self._changed:
            self.mail.append(envelope)
            self.log.append((self.name, envelope.message))
            self._changed.notify_all()
        if envelope.reply_to is not None and self.answer is not None:
            try:
                envelope.reply_to.set(self.answer(envelope.message))
            except QueueError as error:
                envelope.reply_to.break_with(error)

    @property
    def told(self) -> list[Any]:
        with self._changed:
            return [envelope.message for envelope in self.mail]

    def clear(self) -> None:
        with self._changed:
            self.mail.clear()

    def wait_for(self, kind: type, count: int = 1) -> list[Any]:
        """Wait for at least `count` messages of this kind, and return them."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._of(kind)) >= count, PATIENCE_S):
                raise TimeoutError(f"waited for {count} {kind.__name__}; told: {self.told}")
            return self._of(kind)

    def _of(self, kind: type) -> list[Any]:
        return [e.message for e in self.mail if isinstance(e.message, kind)]


class ManualPool:
    """A `Pool` whose jobs run when the test calls `run`. `count`: the number of submitted jobs."""

    def __init__(self) -> None:
        self.count = 0
        self.hangs = False
        self._jobs: deque[tuple[Callable[[], Any], OnDone[Any]]] = deque()
        self._changed = threading.Condition()

    def submit(self, work: Callable[[], Any], done: OnDone[Any]) -> None:
        with self._changed:
            self.count += 1
            self._jobs.append((work, done))
            self._changed.notify_all()

    def finish(self, timeout: float) -> bool:
        if not self.hangs:
            with self._changed:
                self._jobs.clear()
        return not self.hangs

    @property
    def waiting(self) -> int:
        return len(self._jobs)

    def run(self, error: str | None = None) -> None:
        """Wait for a job and run the oldest; with `error` it fails as on a disk error."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._jobs, PATIENCE_S):
                raise TimeoutError("no job was submitted")
            work, done = self._jobs.popleft()
        done(*attempt(work)) if error is None else done(None, error)


class Controlled:
    """An executor whose calls follow the `steps` that the test adds.

    An `Outcome` ends the call, an exception is raised, an event is set, and anything else is a
    piece of the reply, sent as JSON.
    """

    def __init__(self) -> None:
        self.steps: Queue[Any] = Queue()
        self.calls: Queue[tuple[TaskType, str, Spec]] = Queue()
        self.begun = 0
        self.aborts: list[str | None] = []
        self.closed = threading.Event()
        self.probes: Queue[Any] = Queue()
        self.says: Queue[Any] = Queue()
        self.consulted: list[tuple[str, Any, float]] = []

    def begin(self, is_followed: Callable[[], bool]) -> None:
        self.begun += 1

    def run(
        self,
        kind: TaskType,
        model: str,
        spec: Spec,
        on_chunk: Callable[[bytes], None],
        without: frozenset[str] = frozenset(),
    ) -> Outcome:
        self.calls.put((kind, model, spec))
        while True:
            match self.steps.get():
                case BaseException() as error:
                    raise error
                case Answered() | Failed() | Stopped() as outcome:
                    return outcome
                case threading.Event() as marker:
                    marker.set()
                case piece:
                    on_chunk(msgspec.json.encode(piece))

    def abort(self, failure: str | None = None) -> None:
        self.aborts.append(failure)
        self.steps.put(Stopped() if failure is None else Failed(failure, Verdict.RETRY))

    def probe(self) -> ProbeResult:
        result: str | Exception | None = self.probes.get(timeout=PATIENCE_S)
        if isinstance(result, Exception):
            raise result
        return ProbeResult(error=result)

    def request(self, path: str, body: Any, limit_s: float) -> BackendReply:
        self.consulted.append((path, body, limit_s))
        said: bytes | Failed | Exception = self.says.get(timeout=PATIENCE_S)
        if isinstance(said, Exception):
            raise said
        return said

    def close(self) -> None:
        self.closed.set()


def asked(ref: Ref, command: Command[Reply]) -> Future[Reply]:
    """Ask without waiting."""
    future: Future[Reply] = Future()
    inbox: Any = ref.actor_inbox  # pykka's type knows only its own envelopes
    inbox.put(Envelope(command, reply_to=future))
    return future


def value(future: Future[Reply]) -> Reply:
    """The value of a promise that is already kept."""
    assert future.is_kept
    return future.get(timeout=PATIENCE_S)


def task_id(number: int) -> str:
    return f"{number:032x}"


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def a_record(number: int, **facts: Any) -> Record:
    made = {
        "id": task_id(number),
        "type": TaskType.GENERATE,
        "model": "smollm2",
        "priority": 5,
        "created_at": at(number),
        "queued_at": at(number),
        "max_retries": 3,
        "route": "smollm2",
        **facts,
    }
    return Record(**made)


def spec_of(number: int) -> bytes:
    return msgspec.json.encode(Spec({"prompt": f"question {number}"}))


def insert(number: int, **facts: Any) -> Insert:
    return Insert(a_record(number, **facts), spec_of(number))


def started(number: int, attempt: int = 1) -> Change:
    return become(
        task_id(number), Status.PENDING, Status.RUNNING, attempt=attempt, started_at=at(number)
    )


def an_attempt(number: int, error: str | None = None) -> Attempt:
    return Attempt(attempt=number, backend="ollama", started_at=START, ended_at=START, error=error)


def completed(number: int, attempt: int = 1, result: bytes = b'{"response":"Hello"}') -> Change:
    return become(
        task_id(number),
        Status.RUNNING,
        Status.COMPLETED,
        ended=an_attempt(attempt),
        result=result,
        completed_at=at(number + 60),
    )


def unseen(*records: Record) -> HiddenTasks:
    """These records as tasks of a batch that is not yet visible."""
    tasks = HiddenTasks()
    for record in records:
        tasks.add(record, encode(record))
    return tasks
