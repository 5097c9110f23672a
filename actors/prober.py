"""Probes each backend: is it healthy, which models does it have, which are loaded?"""

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Generic, TypeVar, assert_never

from .base.actor import Actor, Ref, log, tell
from .base.cooperation import YieldControl, never_yield
from .base.thread_pool import ThreadPool, attempt
from .core.messages import (
    BackendAnswered,
    BackendProbed,
    CallBackends,
    LoadModel,
    ModelKept,
    ProbeAll,
    Probed,
    ToProber,
    Wake,
)
from .core.model.orders import KeepModel, Probe
from .core.model.outcomes import BackendReply, Failed, ProbeResult, Verdict
from .core.plan.backoff import probe_delay
from .executors import Executor
from .model_loading import FOR_EVER, load_model

T = TypeVar("T")
LEAST_S = 0.25  # between two probes of a backend, however often one is requested


class ProbedBackend:
    """One backend, and when to probe it next. Runs one probe at a time."""

    def __init__(self, executor: Executor, due: float) -> None:
        self.executor, self.due = executor, due
        self.probes = ThreadPool("ollama-queue-probe")
        self.began = due - LEAST_S
        self.is_probing = False
        self.failures = 0  # in a row


class FanOut(Generic[T]):
    """A request to several backends, made at `since`: `done` gets the reply of each."""

    def __init__(
        self,
        names: frozenset[str],
        since: float,
        done: Callable[[dict[str, T]], None],
        *,
        probes: bool = False,
    ) -> None:
        self.names, self.since, self.done, self.probes = names, since, done, probes
        self.replies: dict[str, T] = {}


class Prober(Actor):
    """Probes all backends at the start, every `interval_s` seconds, and on request.

    Each backend has a thread for its probes; an unavailable one is probed after 1, 2, 4 … 30 s.
    It also carries doors' calls that are not tasks to a backend: their only way past the plan.
    """

    def __init__(
        self,
        report: Callable[[str], None],
        *,
        yield_control: YieldControl = never_yield,
        executors: Mapping[str, Executor],
        interval_s: float,
        max_rest_s: float,
        scheduler: Ref,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(report, yield_control, clock)
        self.scheduler = scheduler
        self.interval_s, self.max_rest_s = interval_s, max_rest_s
        now = clock()
        self.watched = {name: ProbedBackend(executor, now) for name, executor in executors.items()}
        self.rounds: dict[int, FanOut[Any]] = {}
        self.numbers = itertools.count()

    def on_start(self) -> None:
        self.probe_due()

    def on_close(self) -> None:
        for watched in self.watched.values():
            watched.probes.finish(0.0)

    def handle(self, message: ToProber) -> None:
        match message:
            case Probe(backend, delay_s):
                watched = self.watched[backend]
                watched.due = min(watched.due, self.clock() + delay_s)
            case Wake():
                pass
            case Probed(backend, result):
                self.probed(backend, result)
            case ProbeAll():
                self.probe_all(message)
            case CallBackends():
                self.call_backends(message)
            case LoadModel(backend, model, keep_alive):
                done = partial(self.keep, self.later(message))
                self.load_model(backend, model, keep_alive, done)
            case KeepModel(backend, model):
                self.keep_model(backend, model)
            case BackendAnswered(number, backend, loads, reply):
                if loads:
                    self.watched[backend].due = self.clock()  # probe what is loaded now
                if number in self.rounds:
                    self.add(number, backend, reply)
            case _:
                assert_never(message)
        self.probe_due()

    def probe_due(self) -> None:
        now, next_due = self.clock(), None
        for name, watched in self.watched.items():
            if watched.is_probing:
                continue
            due = max(watched.due, watched.began + LEAST_S)
            if due <= now:
                self.probe(name, watched, now)
            else:
                next_due = due if next_due is None else min(next_due, due)
        self.wake_at(next_due)

    def probe(self, name: str, watched: ProbedBackend, now: float) -> None:
        watched.began, watched.is_probing = now, True
        watched.due = now + self.interval_s
        me = self.actor_ref
        watched.probes.submit(
            watched.executor.probe,
            lambda found, broke: tell(me, Probed(name, found or ProbeResult(broke))),
        )

    def probed(self, name: str, result: ProbeResult) -> None:
        watched = self.watched[name]
        watched.is_probing = False
        if result.error is None:
            if watched.failures:
                log.info("backend %s is healthy again", name)
            watched.failures = 0
        else:
            watched.failures += 1
            if watched.failures == 1:
                log.warning("backend %s is unavailable: %s", name, result.error)
            rest_s = min(self.max_rest_s, result.retry_after_s or 0.0)
            delay_s = max(probe_delay(watched.failures), rest_s)
            watched.due = min(watched.due, self.clock() + delay_s)
        tell(self.scheduler, BackendProbed(name, result))
        for number, each in list(self.rounds.items()):
            if each.probes and name in each.names and watched.began >= each.since:
                self.add(number, name, True)

    # --- requests of doors ----------------------------------------------------------------------

    def probe_all(self, command: ProbeAll) -> None:
        """Probe all named; a probe that is already under way started too early to count."""
        now = self.clock()
        names = self.watched if command.backends is None else command.backends
        for name in names:
            self.watched[name].due = now
        promise = self.later(command)

        def done(_: dict[str, bool]) -> None:
            self.keep(promise, True)

        self.begin(FanOut(frozenset(names), now, done, probes=True))

    def call_backends(self, command: CallBackends) -> None:
        """Call each of these servers in a thread of its own."""
        path, body, limit_s = command.path, command.body, command.limit_s
        self.consult(
            command.backends,
            lambda executor: executor.request(path, body, limit_s),
            partial(self.keep, self.later(command)),
            loads=command.loads,
        )

    def keep_model(self, backend: str, model: str) -> None:
        """Load a model for ever, and tell the scheduler how it went."""

        def done(reply: BackendReply) -> None:
            error = reply.error if isinstance(reply, Failed) else None
            if error is None:
                log.info("backend %s keeps model %s in memory", backend, model)
            else:
                log.warning("backend %s could not load model %s: %s", backend, model, error)
            tell(self.scheduler, ModelKept(backend, model, error))

        self.load_model(backend, model, FOR_EVER, done)

    def load_model(
        self,
        backend: str,
        model: str,
        keep_alive: str | float | None,
        done: Callable[[BackendReply], None],
    ) -> None:
        """Load a model, or unload it; `done` gets the server's reply."""
        self.consult(
            (backend,),
            lambda executor: load_model(executor, model, keep_alive),
            lambda replies: done(replies[backend]),
            loads=True,
        )

    def consult(
        self,
        names: tuple[str, ...],
        call: Callable[[Executor], BackendReply],
        done: Callable[[dict[str, BackendReply]], None],
        *,
        loads: bool,
    ) -> None:
        """Make a call to each of these servers, in a thread of its own."""
        number = self.begin(FanOut(frozenset(names), self.clock(), done))
        me = self.actor_ref

        def work(name: str, executor: Executor) -> None:
            reply, broke = attempt(partial(call, executor))
            failed = Failed(broke or "", Verdict.FINAL)
            tell(me, BackendAnswered(number, name, loads, failed if reply is None else reply))

        for name in names:
            args = (name, self.watched[name].executor)
            thread = threading.Thread(
                target=work, args=args, name="ollama-queue-consult", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:  # no more threads, or the program is exiting
                tell(me, BackendAnswered(number, name, False, Failed(str(error), Verdict.FINAL)))

    def begin(self, fan_out: FanOut[T]) -> int:
        number = next(self.numbers)
        if fan_out.names:
            self.rounds[number] = fan_out
        else:
            fan_out.done({})
        return number

    def add(self, number: int, name: str, result: object) -> None:
        """Add a backend's reply; the last one completes the answer."""
        fan_out = self.rounds[number]
        fan_out.replies[name] = result
        if fan_out.replies.keys() >= fan_out.names:
            del self.rounds[number]
            fan_out.done(fan_out.replies)
