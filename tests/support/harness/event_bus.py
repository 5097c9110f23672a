"""A real event bus and a real store behind a switchboard; the test acts as the worker."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ollama_queue.actors.base.actor import Ping, Ref, ask, start, stop, tell
from ollama_queue.actors.base.relayed_streams import OpenRelay
from ollama_queue.actors.base.stream_log import StreamLog
from ollama_queue.actors.base.thread_pool import ThreadPool
from ollama_queue.actors.core.messages import Commit, StreamGrew
from ollama_queue.actors.core.model.lifecycle import become
from ollama_queue.actors.core.model.tasks import AttemptBegun, Chunk, Status
from ollama_queue.actors.embedded import watch
from ollama_queue.actors.event_bus import EventBus
from ollama_queue.actors.persistence import Persistence
from ollama_queue.actors.store.rocksdb import Store
from ollama_queue.actors.supervision.switchboard import Generation, Switchboard
from tests.support.recorders import (
    PATIENCE_S,
    START,
    Recorder,
    an_attempt,
    insert,
    started,
    task_id,
)

TASK = task_id(1)
WHOLE = {"response": "Hello"}


class EventBusHarness:
    """The bus and store of one generation, behind a switchboard. `make_relays`: of one server among
    several."""

    def __init__(self, folder: Path, make_relays: Callable[[Ref], OpenRelay] | None = None) -> None:
        self.switchboard = Switchboard()
        self.logs: dict[int, StreamLog] = {}  # by attempt
        self.bus: Ref = start(EventBus, print, make_relays=make_relays)
        self.persistence: Ref = start(
            Persistence,
            print,
            open_store=lambda: Store(str(folder), None),
            pools=lambda: (ThreadPool("sync"), ThreadPool("scan")),
            bus=self.bus,
        )
        self.connect(self.bus)
        self.commit(insert(1))

    def connect(self, bus: Ref, persistence: Ref | None = None) -> None:
        found: Any = Recorder()
        self.switchboard.connect(
            Generation(found, persistence or self.persistence, bus, found, found, found, found)
        )

    def commit(self, *saves: Any) -> None:
        ask(self.persistence, Commit(saves, START, None))

    def retry(self, attempt: int) -> None:
        """Fail the attempt and begin the next one."""
        ended = an_attempt(attempt, "cut")
        self.commit(
            become(TASK, Status.RUNNING, Status.PENDING, ended=ended), started(1, attempt + 1)
        )

    def send(self, attempt: int, first: int, *pieces: Any, bus: Ref | None = None) -> None:
        """Append to the log of an attempt, as its call does."""
        log = self.logs.setdefault(attempt, StreamLog(AttemptBegun(attempt, "ollama", 0.0)))
        assert log.count == first
        for piece in pieces:
            if log.append(msgspec.json.encode(piece)):
                tell(bus or self.bus, StreamGrew(TASK, log))
                if bus is None:
                    ask(self.bus, Ping())

    def stream(self, timeout: float = PATIENCE_S) -> Iterator[Chunk]:
        return watch.ChunkStream(watch.PieceStream(self.switchboard, TASK, timeout))

    def close(self) -> None:
        for ref in (self.persistence, self.bus):
            stop(ref, PATIENCE_S)


def shown(chunks: Iterator[Chunk]) -> list[tuple[str, Any]]:
    """The chunks' ids and data, with `restart` and `done` in place of data."""
    return [
        (c.id, "restart" if c.restart else (c.error or "done") if c.done else c.data)
        for c in chunks
    ]
