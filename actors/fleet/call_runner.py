"""Makes the calls that the leader assigns to this server, and writes how they end."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from ..base.actor import Actor, Ref, Replied, log, tell
from ..base.cooperation import YieldControl, never_yield
from ..base.inbox import Promise
from ..base.thread_pool import begin_guarded
from ..core.messages import Finished, StartCall, StreamEnded, Wake, WorkerLost
from ..core.messages.call_runner import CallsSeen, EndsWritten, Retire, ToCallRunner
from ..core.model.orders import Stop
from ..core.model.outcomes import CallEnd, Stopped
from ..store.postgres.calls import CallWatch, EndWriter, SeenCall
from ..store.postgres.connections import PostgresError
from .watching import watch_rows

RETRY_S = 0.5  # before an end is written again
MOST_ENDS = 100  # written together
STOP_PATIENCE_S = 5.0  # a worker that has not ended a call so long after a stop is replaced
SpawnWorker = Callable[[int, Ref, Callable[[str], None]], Ref]


class _Making(Struct):
    """A call that is being made. `is_wanted`: the leader has not dropped it."""

    slot: int
    seen: SeenCall
    is_wanted: bool = True
    stop_by: float | None = None


class CallRunner(Actor):
    """Owns this server's workers for the leader's calls. Two threads read and write the rows."""

    def __init__(
        self,
        report: Callable[[str], None],
        *,
        yield_control: YieldControl = never_yield,
        conninfo: str,
        server: str,
        limit_s: float,
        bus: Ref,
        spawn_worker: SpawnWorker,
        dismiss: Callable[[Ref], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limit_s`: after so long without a look at its calls it stops them, as by then the leader
        takes this server for dead."""
        super().__init__(report, yield_control, clock)
        self.conninfo, self.server, self.limit_s = conninfo, server, limit_s
        self.bus, self.spawn_worker, self.dismiss = bus, spawn_worker, dismiss
        self.making: dict[str, _Making] = {}  # by key
        self.unwritten: dict[str, CallEnd] = {}  # ends of calls, by key
        self.over: set[str] = set()  # written, and perhaps still among the rows
        self.key_in: dict[int, str] = {}  # the call in each busy slot
        self.workers: dict[int, Ref] = {}
        self.incarnations: dict[int, int] = {}
        self.free: list[int] = []
        self.seen_at = clock()
        self.known: frozenset[str] = frozenset()  # read by the thread that reads rows
        self.ends: queue.SimpleQueue[tuple[str, CallEnd] | None] = queue.SimpleQueue()
        self.is_over = threading.Event()
        self.retiring: Promise[bool] | None = None
        self.retires_by: float | None = None

    def on_start(self) -> None:
        begin_guarded(self._read, "ollama-queue-calls", self._report)
        begin_guarded(self._write, "ollama-queue-ends", self._report)

    def on_close(self) -> None:
        self.is_over.set()
        self.ends.put(None)

    def handle(self, message: ToCallRunner) -> Replied | None:
        match message:
            case CallsSeen(asked_at, calls):
                self.seen_at = asked_at
                self.compare(calls)
            case Finished(slot, task_id, attempt, outcome):
                making = self.making.get(self.key_in.get(slot, ""))
                run = None if making is None else making.seen.call.run
                if run is not None and (run.task_id, run.attempt) == (task_id, attempt):
                    self.ended(slot, CallEnd(outcome))  # else it is of a worker that was replaced
            case WorkerLost(slot, incarnation, error):
                if self.incarnations[slot] == incarnation:
                    self.replace(slot)
                    self.ended(slot, CallEnd(None, error))
            case EndsWritten(keys):
                for key in keys:
                    if self.unwritten.pop(key, None) is not None:
                        self.over.add(key)
            case Retire(grace_s):
                self.retiring = self.later(message)
                self.retires_by = self.clock() + grace_s
            case Wake():
                pass
            case _:
                assert_never(message)
        self.known = frozenset(self.making) | frozenset(self.unwritten) | self.over
        self.look_at_clock()
        return None

    # --- calls ----------------------------------------------------------------------------------

    def compare(self, calls: list[SeenCall]) -> None:
        """Begin and stop calls so that they are those that the leader wants."""
        wanted = {seen.key for seen in calls}
        self.over &= wanted
        for key in self.unwritten.keys() - wanted:
            del self.unwritten[key]
        for key, making in self.making.items():
            if key not in wanted and making.is_wanted:
                making.is_wanted = False
                self.stop_call(making)
        for seen in calls:
            known = self.making.get(seen.key)
            if known is not None and seen.call.stop:
                self.stop_call(known)
            elif known is None and seen.key not in self.unwritten and seen.key not in self.over:
                self.begin_call(seen)

    def begin_call(self, seen: SeenCall) -> None:
        if seen.call.stop or self.retires_by is not None:
            self.write_end(seen.key, CallEnd(Stopped()))
            return
        if not self.free:
            self.free.append(len(self.workers))
            self.replace(self.free[-1])
        slot = self.free.pop()
        self.making[seen.key], self.key_in[slot] = _Making(slot, seen), seen.key
        run = seen.call.run
        tell(self.workers[slot], StartCall(replace(run, slot=slot), seen.spec))

    def stop_call(self, making: _Making) -> None:
        if making.stop_by is None:
            making.stop_by = self.clock() + STOP_PATIENCE_S
            run = making.seen.call.run
            tell(self.workers[making.slot], Stop(making.slot, run.task_id, run.attempt))

    def ended(self, slot: int, end: CallEnd) -> None:
        key = self.key_in.pop(slot, None)
        if key is None:
            return
        self.free.append(slot)
        making = self.making.pop(key)
        run = making.seen.call.run
        tell(self.bus, StreamEnded(run.task_id, run.attempt))
        if making.is_wanted:
            self.write_end(key, end)

    def write_end(self, key: str, end: CallEnd) -> None:
        self.unwritten[key] = end
        self.ends.put((key, end))

    def replace(self, slot: int) -> None:
        """Put a new worker into a slot; the old one is dead, silent, or there is none."""
        old = self.workers.get(slot)
        if old is not None:
            self.dismiss(old)
        incarnation = self.incarnations[slot] = self.incarnations.get(slot, 0) + 1
        me = self.actor_ref
        self.workers[slot] = self.spawn_worker(
            slot, me, lambda error: tell(me, WorkerLost(slot, incarnation, error))
        )

    # --- time -----------------------------------------------------------------------------------

    def look_at_clock(self) -> None:
        now, making = self.clock(), list(self.making.values())
        if now >= self.seen_at + self.limit_s or (
            self.retires_by is not None and now >= self.retires_by
        ):
            for each in making:
                self.stop_call(each)
        for each in making:
            if each.stop_by is not None and each.stop_by <= now:
                self.replace(each.slot)
                self.ended(each.slot, CallEnd(Stopped()))
        if self.retiring is not None and not self.making and not self.unwritten:
            self.keep(self.retiring, True)
            self.retiring = None
        if self.making:
            dues = [self.seen_at + self.limit_s, *(each.stop_by for each in making)]
            dues.append(self.retires_by)
            self.wake_at(min((due for due in dues if due is not None and due > now), default=None))

    # --- in threads of their own ----------------------------------------------------------------

    def _read(self) -> None:
        """Tell the actor which calls there are, whenever they may have changed."""
        me = self.actor_ref

        def look(watch: CallWatch) -> None:
            asked_at = self.clock()
            tell(me, CallsSeen(asked_at, watch.read(self.known)))

        watch_rows(
            lambda: CallWatch(self.conninfo, self.server),
            look,
            self.is_over,
            lambda error: log.warning("the calls of this server cannot be read: %s", error),
        )

    def _write(self) -> None:
        """Write the ends of calls, as many together as there are."""
        me, is_failing = self.actor_ref, False
        writer: EndWriter | None = None
        while (first := self.ends.get()) is not None:
            ends = [first, *self._more_ends()]
            while True:
                try:
                    writer = writer or EndWriter(self.conninfo)
                    writer.write(ends)
                    break
                except PostgresError as error:
                    if not is_failing:
                        log.warning("the ends of calls cannot be written yet: %s", error)
                    is_failing = True
                    if writer is not None:
                        writer.close()
                        writer = None
                if self.is_over.wait(RETRY_S):
                    return
            is_failing = False
            tell(me, EndsWritten(tuple(key for key, _ in ends)))
        if writer is not None:
            writer.close()

    def _more_ends(self) -> Iterator[tuple[str, CallEnd]]:
        """Those that wait to be written, up to `MOST_ENDS`."""
        with suppress(queue.Empty):
            for _ in range(MOST_ENDS - 1):
                end = self.ends.get_nowait()
                if end is None:
                    self.ends.put(None)  # the last of all: for the loop
                    return
                yield end
