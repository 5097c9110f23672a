"""Stores of each kind that can be reopened with their contents."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from ollama_queue.actors.store.memory import MemoryStore, empty_families
from ollama_queue.actors.store.postgres.store import PostgresStore
from ollama_queue.actors.store.rocksdb import Store
from ollama_queue.actors.store.task_store import TaskStore
from tests.support.servers.postgres import PostgresServer, take_lead

DURABLE = ("RocksDB", "PostgreSQL")
KINDS = (*DURABLE, "memory")


class KeptStore:
    """A store's contents, kept from one opening to the next."""

    def __init__(self, kind: str, place: Path | str = "") -> None:
        """`place` is a folder, or where to connect to."""
        self.kind, self.place = kind, str(place)
        self._families = empty_families()

    def open(self) -> TaskStore:
        if self.kind == "memory":
            return MemoryStore(self._families)
        if self.kind == "PostgreSQL":
            return PostgresStore(self.place, take_lead(self.place))
        return Store(self.place, None)


class NewStores:
    """Makes empty stores. PostgreSQL has one place: a new store there ends the one before."""

    def __init__(self, postgres: Callable[[], PostgresServer]) -> None:
        """`postgres` starts it, when it is needed first."""
        self._postgres = postgres
        self._folder = TemporaryDirectory()
        self._count = 0

    def new(self, kind: str) -> KeptStore:
        if kind == "PostgreSQL":
            return KeptStore(kind, self._postgres().emptied())
        self._count += 1
        return KeptStore(kind, Path(self._folder.name) / str(self._count))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()
