"""Persistence on a real store, with fsyncs that the test completes."""

from pathlib import Path
from queue import Queue
from typing import Any

from ollama_queue.actors.base.actor import Ping, Ref, ask, start, stop
from ollama_queue.actors.base.inbox import Future
from ollama_queue.actors.core.messages import Command, Commit, CommitChange, GetTask, StartCall
from ollama_queue.actors.core.messages.command import Reply
from ollama_queue.actors.core.messages.replies import CallSpec, StoredTask
from ollama_queue.actors.core.model.events import EventRecord
from ollama_queue.actors.core.model.orders import Run, Save
from ollama_queue.actors.core.model.tasks import Record
from ollama_queue.actors.persistence import Persistence
from tests.support.recorders import PATIENCE_S, START, ManualPool, Recorder, asked, task_id
from tests.support.stores import KeptStore


class PersistenceHarness:
    """One Persistence actor and its collaborators."""

    def __init__(self, place: KeptStore | Path, *, durable: bool = True) -> None:
        """`place` is a folder, or a store of any kind."""
        self.kept = place if isinstance(place, KeptStore) else KeptStore("RocksDB", place)
        self.syncer, self.scanner = ManualPool(), ManualPool()
        self.bus = Recorder()
        self.reports: Queue[str] = Queue()
        self.ref: Ref = start(
            Persistence,
            self.reports.put,
            open_store=self.kept.open,
            pools=lambda: (self.syncer, self.scanner),
            bus=self.bus,
            durable=durable,
        )
        self.scanner.run()  # small tables

    def ask(self, command: Command[Reply]) -> Future[Reply]:
        """Ask, and return when the message has been handled, answered or not."""
        future = asked(self.ref, command)
        self.settle()
        return future

    def settle(self) -> None:
        """Wait until all mail has been read, and the mail that the actor then sent itself."""
        for _ in range(2):
            ask(self.ref, Ping())

    def commit(self, *saves: Save, reply: Any = None) -> Future[Any]:
        return self.ask(Commit(saves, START, reply))

    def starts(self, number: int, *saves: Save) -> list[CallSpec | None]:
        """Commit together with the start of a task's call; returns what its worker is told."""
        worker = Recorder()
        run = Run(0, task_id(number), 1, "ollama")
        self.ask(Commit(saves, START, None, ((worker, run),)))
        return [message.spec for message in worker.told if isinstance(message, StartCall)]

    def change(self, *saves: Save) -> Future[Record]:
        return self.ask(CommitChange(saves, START))

    def get(self, number: int) -> Future[StoredTask]:
        return self.ask(GetTask(task_id(number)))

    def sync(self) -> None:
        """Complete the fsync in progress, and wait until the actor knows."""
        self.syncer.run()
        self.settle()

    def saved(self, *saves: Save) -> None:
        """Commit and make durable."""
        promise = self.commit(*saves)
        self.sync()
        assert promise.is_kept

    @property
    def published(self) -> list[EventRecord]:
        return [event for message in self.bus.told for event in message.events]

    def close(self) -> None:
        assert stop(self.ref, PATIENCE_S)
