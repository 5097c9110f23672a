"""Persistence on a real store, with an fsync that ends when the test says so."""

from pathlib import Path
from queue import Queue
from typing import Any

from ollama_queue.actors.base.actor import Ref, SignOfLife, ask, start, stop
from ollama_queue.actors.base.inbox import Promise
from ollama_queue.actors.core.messages import Commit, Get
from ollama_queue.actors.core.model.events import Happened
from ollama_queue.actors.persistence import Persistence
from ollama_queue.actors.store.rocksdb import Store
from tests.support.recorders import PATIENCE_S, START, ManualPool, Recorder, asked, task_id


class PersistenceHarness:
    """One Persistence and its surroundings."""

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self.folder = folder
        self.syncer, self.scanner = ManualPool(), ManualPool()
        self.bus = Recorder()
        self.reports: Queue[str] = Queue()
        self.ref: Ref = start(
            Persistence,
            self.reports.put,
            open_store=lambda: Store(str(folder), None),
            pools=lambda: (self.syncer, self.scanner),
            bus=self.bus,
            durable=durable,
        )
        self.scanner.run()  # small tables

    def ask(self, message: Any) -> Promise:
        """Ask, and return once the message has been handled, answered or not."""
        promise = asked(self.ref, message)
        ask(self.ref, SignOfLife())
        return promise

    def commit(self, *saves: Any, reply: Any = None) -> Promise:
        return self.ask(Commit(saves, START, reply))

    def get(self, number: int) -> Promise:
        return self.ask(Get(task_id(number)))

    def sync(self) -> None:
        """Let the fsync in flight end, and be told so."""
        self.syncer.run()
        ask(self.ref, SignOfLife())

    def saved(self, *saves: Any) -> None:
        """Commit and make durable."""
        promise = self.commit(*saves)
        self.sync()
        assert promise.is_kept

    @property
    def published(self) -> list[Happened]:
        return [event for message in self.bus.told for event in message.events]

    def close(self) -> None:
        assert stop(self.ref, PATIENCE_S)
