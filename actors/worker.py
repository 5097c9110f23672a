"""The worker of one slot: makes one call to a model at a time, and can always be stopped."""

import queue
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, assert_never

import msgspec

from .base.actor import Actor, Ref, ask, log, tell
from .base.cooperation import YieldControl, never_yield
from .core.messages import (
    CallEnded,
    Chunks,
    ChunksReady,
    Finished,
    GetSpec,
    ToWorker,
    Wake,
)
from .core.model.errors import NotFound, Unavailable
from .core.model.orders import Run, Stop
from .core.model.outcomes import Failed, Outcome, Stopped, Verdict
from .core.model.tasks import Spec
from .executors import Executor

TOGETHER = 200  # pieces per message: its receiver handles nothing else meanwhile
MOST = 5 * TOGETHER

_decode_spec = msgspec.json.Decoder(Spec).decode


class PieceBuffer:
    """Pieces that a call has produced and its worker has not taken; at `MOST`, the call waits.

    A million small objects would keep the garbage collector busy, and everything else waiting.
    """

    def __init__(self) -> None:
        self._pieces: list[Any] = []
        self._changed = threading.Condition(threading.Lock())
        self._expected = False  # the worker will take more without being told
        self._is_over = False

    def add(self, piece: Any) -> bool:
        """Add a piece. Returns True if the worker must be told."""
        with self._changed:
            while len(self._pieces) >= MOST and not self._is_over:
                self._changed.wait()
            if self._is_over:
                return False
            self._pieces.append(piece)
            news, self._expected = not self._expected, True
            return news

    def take(self) -> tuple[Any, ...]:
        """The next pieces, at most `TOGETHER`."""
        with self._changed:
            taken = tuple(self._pieces[:TOGETHER])
            del self._pieces[:TOGETHER]
            self._expected = bool(taken)
            self._changed.notify()
            return taken

    def close(self) -> None:
        """Discard further pieces: nothing will take them, so adding one need not wait."""
        with self._changed:
            self._is_over = True
            self._changed.notify()


class Call:
    """The current call."""

    def __init__(self, run: Run, executor: Executor) -> None:
        self.run, self.executor = run, executor
        self.pieces = PieceBuffer()
        self.sent = 0
        self.stopped = False
        self.deadline = time.monotonic() + run.timeout_s if run.timeout_s is not None else None

    def stop(self) -> None:
        """Stop it, and discard its further pieces."""
        self.stopped = True
        self.executor.abort()
        self.pieces.close()


class Worker(Actor):
    """Runs one call at a time, in a thread of its own that never blocks the mailbox."""

    def __init__(
        self,
        report: Callable[[str], None],
        *,
        yield_control: YieldControl = never_yield,
        slot: int,
        make_executor: Callable[[str], Executor],
        scheduler: Ref,
        persistence: Ref,
        bus: Ref,
    ) -> None:
        super().__init__(report, yield_control)
        self.slot, self.make_executor = slot, make_executor
        self.executors: dict[str, Executor] = {}  # by backend; each keeps a warm connection
        self.scheduler, self.persistence, self.bus = scheduler, persistence, bus
        self.call: Call | None = None
        self.calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()

    def on_start(self) -> None:
        name = f"ollama-queue-call-{self.slot}"
        threading.Thread(target=self.make_calls, name=name, daemon=True).start()

    def on_close(self) -> None:
        if self.call is not None:
            self.call.stop()
        self.calls.put(None)

    def handle(self, message: ToWorker) -> None:
        match message:
            case Run():
                assert self.call is None, "two calls in one slot"
                self.call = Call(message, self.executor(message.backend))
                self.call.executor.begin()
                self.calls.put(self.call)
                self.wake_at(self.call.deadline)
            case Stop(_, task_id, attempt):
                # One sender's messages arrive in order: unless it has ended, the call is current.
                call = self.call
                if call is not None and (call.run.task_id, call.run.attempt) == (task_id, attempt):
                    call.stop()
            case ChunksReady():
                self.hand_on(self.call)
            case CallEnded(outcome, error):
                self.end(outcome, error)
            case Wake():
                self.watch_time()
            case _:
                assert_never(message)

    def executor(self, backend: str) -> Executor:
        if backend not in self.executors:
            self.executors[backend] = self.make_executor(backend)
        return self.executors[backend]

    def hand_on(self, call: Call | None) -> bool:
        """Send the next pieces, if there are any, as one message. Returns whether there were any.

        The bus asks for more.
        """
        if call is None or call.stopped:
            return False
        pieces = call.pieces.take()
        if pieces:
            run = call.run
            tell(self.bus, Chunks(self.actor_ref, run.task_id, run.attempt, call.sent, pieces))
            call.sent += len(pieces)
        return bool(pieces)

    def end(self, outcome: Outcome | None, error: str) -> None:
        call, self.call = self.call, None
        assert call is not None
        if outcome is None:
            raise RuntimeError(error)
        while self.hand_on(call):  # the bus gets all pieces before the end is reported
            self.yield_control()
        run = call.run
        tell(self.scheduler, Finished(self.slot, run.task_id, run.attempt, outcome))

    def watch_time(self) -> None:
        call = self.call
        if call is None or call.deadline is None:
            return
        if call.deadline <= self.clock():
            call.executor.abort(f"no answer within timeout_s = {call.run.timeout_s:g} s")
        else:
            self.wake_at(call.deadline)

    # --- the call's own thread ------------------------------------------------------------------

    def make_calls(self) -> None:
        me = self.actor_ref
        while (call := self.calls.get()) is not None:
            try:
                ended = CallEnded(self.make(call))
            except BaseException as error:  # this thread must not end silently
                log.error("the executor crashed\n%s", traceback.format_exc())
                ended = CallEnded(None, f"{type(error).__name__}: {error}")
            tell(me, ended)
        for executor in self.executors.values():
            executor.close()

    def make(self, call: Call) -> Outcome:
        me = self.actor_ref

        def on_chunk(piece: Any) -> None:
            if call.pieces.add(piece):
                tell(me, ChunksReady())

        try:
            call_spec = ask(self.persistence, GetSpec(call.run.task_id))
        except NotFound as error:
            return Failed(error.message, Verdict.FINAL)
        except Unavailable:
            return Stopped()  # the queue is rebooting or gone, and with it this call
        model = call.run.model or call_spec.model
        spec = _decode_spec(call_spec.spec)
        return call.executor.run(call_spec.type, model, spec, on_chunk, call.run.without)
