"""The worker of one slot: makes one call to a model at a time, and can always be stopped."""

import queue
import threading
import time
import traceback
from collections.abc import Callable
from itertools import count
from typing import assert_never

import msgspec

from .base.actor import Actor, Ref, log, tell
from .base.cooperation import YieldControl, never_yield
from .base.stream_log import StreamLog
from .core.activity.tracing import TraceContext, child_of
from .core.messages import (
    CallCrashed,
    Finished,
    StartCall,
    StreamGrew,
    ToWorker,
    Wake,
)
from .core.messages.replies import CallSpec
from .core.model.orders import Run, Stop
from .core.model.outcomes import Failed, Outcome, Verdict
from .core.model.tasks import AttemptBegun, Spec
from .executors import Executor

_decode_spec = msgspec.json.Decoder(Spec).decode


class Call:
    """The current call."""

    def __init__(self, run: Run, spec: CallSpec | None, executor: Executor) -> None:
        self.run, self.spec, self.executor = run, spec, executor
        self.log = StreamLog(AttemptBegun(run.attempt, run.backend, time.time(), run.fallback))
        self.deadline = time.monotonic() + run.timeout_s if run.timeout_s is not None else None
        self._claims = count()

    def claim_end(self) -> bool:
        """Whether this is the first to ask, in any thread: that one alone tells of the end."""
        return next(self._claims) == 0  # atomic; a lock costs more under gevent than all else here


class Worker(Actor):
    """Runs one call at a time, in a thread of its own that never blocks the mailbox.

    That thread tells the scheduler of the end, so that it need not wake this actor first.
    """

    def __init__(
        self,
        report: Callable[[str], None],
        *,
        yield_control: YieldControl = never_yield,
        slot: int,
        make_executor: Callable[[str], Executor],
        scheduler: Ref,
        bus: Ref,
    ) -> None:
        super().__init__(report, yield_control)
        self.slot, self.make_executor = slot, make_executor
        self.executors: dict[str, Executor] = {}  # by backend; each keeps a warm connection
        self.scheduler, self.bus = scheduler, bus
        self.call: Call | None = None  # whoever claims its end sets it to None

    def on_start(self) -> None:
        self.calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        name = f"ollama-queue-call-{self.slot}"
        target, args = self.make_calls, (self.calls,)
        threading.Thread(target=target, args=args, name=name, daemon=True).start()

    def on_close(self) -> None:
        call = self.call
        if call is not None:
            call.claim_end()  # nobody is told of it
            call.executor.abort()
            call.log.close()
        self.calls.put(None)

    def handle(self, message: ToWorker) -> None:
        match message:
            case StartCall(run, spec):
                assert self.call is None, "two calls in one slot"
                self.begin(Call(run, spec, self.executor(run.backend)))
            case Stop(_, task_id, attempt):
                # One sender's messages arrive in order: unless it has ended, the call is current.
                call = self.call
                if call is not None and (call.run.task_id, call.run.attempt) == (task_id, attempt):
                    self.abort(call)
                    call.log.close()  # its further pieces are discarded
            case CallCrashed(error):
                raise RuntimeError(error)
            case Wake():
                self.watch_time()
            case _:
                assert_never(message)

    def begin(self, call: Call) -> None:
        self.call = call
        call.executor.begin(call.log.is_followed)
        self.wake_at(call.deadline)
        self.calls.put(call)  # from now on it may end at any time

    def executor(self, backend: str) -> Executor:
        if backend not in self.executors:
            self.executors[backend] = self.make_executor(backend)
        return self.executors[backend]

    def abort(self, call: Call, failure: str | None = None) -> None:
        """Have a call end, or leave it alone with its thread if it cannot be interrupted."""
        outcome = call.executor.abort(failure)
        if outcome is not None and call.claim_end():
            del self.executors[call.run.backend]
            left = self.calls
            self.end(call, outcome)
            try:
                self.on_start()
            finally:
                left.put(None)  # only now: a thread that is not left alone closes the executors

    def end(self, call: Call, outcome: Outcome) -> None:
        """Tell how a call has ended; only for who has claimed its end."""
        self.call = None
        run = call.run
        tell(self.scheduler, Finished(self.slot, run.task_id, run.attempt, outcome))

    def watch_time(self) -> None:
        call = self.call
        if call is None or call.deadline is None:
            return
        if call.deadline <= self.clock():
            self.abort(call, f"no answer within timeout_s = {call.run.timeout_s:g} s")
        else:
            self.wake_at(call.deadline)

    # --- the call's own thread ------------------------------------------------------------------

    def make_calls(self, calls: "queue.SimpleQueue[Call | None]") -> None:
        while (call := calls.get()) is not None:
            try:
                outcome = self.make(call)
            except BaseException as error:  # this thread must not end silently
                log.error("the executor crashed\n%s", traceback.format_exc())
                if call.claim_end():
                    tell(self.actor_ref, CallCrashed(f"{type(error).__name__}: {error}"))
                continue
            if call.claim_end():
                self.end(call, outcome)
        if calls is self.calls:  # else this thread was left alone
            for executor in self.executors.values():
                executor.close()

    def make(self, call: Call) -> Outcome:
        stream, task_id = call.log, call.run.task_id

        def on_chunk(piece: bytes) -> None:
            if stream.append(piece):
                tell(self.bus, StreamGrew(task_id, stream))

        if call.spec is None:
            return Failed(f"there is no task {task_id}", Verdict.FINAL)
        run, spec = call.run, _decode_spec(call.spec.spec)
        self.yield_control()  # it may be large, and so is the request
        model = run.model or run.fallback or call.spec.model
        if call.spec.traceparent is not None:
            parent = child_of(call.spec.traceparent, task_id, run.attempt)
            call.executor.trace(TraceContext(parent, spec.tracestate))
        return call.executor.run(call.spec.type, model, spec, on_chunk, run.without)
