"""Stores of both kinds that can be reopened with their contents."""

from pathlib import Path

from ollama_queue.actors.store.memory import MemoryStore, empty_families
from ollama_queue.actors.store.rocksdb import Store
from ollama_queue.actors.store.task_store import TaskStore

KINDS = ("RocksDB", "memory")


class KeptStore:
    """A store's contents, kept from one opening to the next."""

    def __init__(self, kind: str, folder: Path | str) -> None:
        self.kind, self._folder = kind, str(folder)
        self._families = empty_families()

    def open(self) -> TaskStore:
        if self.kind == "memory":
            return MemoryStore(self._families)
        return Store(self._folder, None)
