"""Looks at each backend: is it well, which models has it, which of them are loaded?"""

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, assert_never

from .base.actor import Actor, Ref, log, tell
from .base.breathing import Breathe, as_threads_do
from .base.inbox import Promise
from .base.thread_pool import ThreadPool, attempt
from .core.messages import (
    BackendChanged,
    Consult,
    Consulted,
    Probed,
    Survey,
    ToProber,
    Wake,
)
from .core.model.orders import Watch
from .core.model.outcomes import Failed, Look, Verdict
from .core.plan.backoff import probe_delay
from .executors import Executor

LEAST_S = 0.25  # between two looks at the same backend, however often it is asked for


class Watched:
    """One backend, and when to look at it again. One look at a time."""

    def __init__(self, executor: Executor, due: float) -> None:
        self.executor, self.due = executor, due
        self.looks = ThreadPool("ollama-queue-probe")
        self.began = due - LEAST_S
        self.is_looking = False
        self.failures = 0  # in a row


class Round:
    """What a door asked of several backends at `since`: the answer is what each has `found`."""

    def __init__(
        self, promise: Promise | None, names: frozenset[str], since: float, *, looks: bool = False
    ) -> None:
        self.promise, self.names, self.since, self.looks = promise, names, since, looks
        self.found: dict[str, Any] = {}


class Prober(Actor):
    """Looks at all backends at the start, every `interval_s` seconds, and when told to.

    Each backend has a thread for looks; one that is not well is looked at after 1, 2, 4 … 30 s.
    It also carries to a backend what is no task, for doors: their only way past the plan.
    """

    def __init__(
        self,
        report: Callable[[str], None],
        *,
        breathe: Breathe = as_threads_do,
        executors: Mapping[str, Executor],
        interval_s: float,
        max_rest_s: float,
        scheduler: Ref,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(report, breathe, clock)
        self.scheduler = scheduler
        self.interval_s, self.max_rest_s = interval_s, max_rest_s
        now = clock()
        self.watched = {name: Watched(executor, now) for name, executor in executors.items()}
        self.rounds: dict[int, Round] = {}
        self.numbers = itertools.count()

    def on_start(self) -> None:
        self.look_at_the_due()

    def on_stop(self) -> None:
        for watched in self.watched.values():
            watched.looks.finish(0.0)

    def handle(self, message: ToProber) -> None:
        match message:
            case Watch(backend, delay_s):
                watched = self.watched[backend]
                watched.due = min(watched.due, self.clock() + delay_s)
            case Wake():
                pass
            case Probed(backend, look):
                self.probed(backend, look)
            case Survey():
                self.survey()
            case Consult():
                self.consult(message)
            case Consulted(number, backend, loads, reply):
                if loads:
                    self.watched[backend].due = self.clock()  # what is in memory now?
                if number in self.rounds:
                    self.add(number, backend, reply)
            case _:
                assert_never(message)
        self.look_at_the_due()

    def look_at_the_due(self) -> None:
        now, next_due = self.clock(), None
        for name, watched in self.watched.items():
            if watched.is_looking:
                continue
            due = max(watched.due, watched.began + LEAST_S)
            if due <= now:
                self.look(name, watched, now)
            else:
                next_due = due if next_due is None else min(next_due, due)
        self.wake_at(next_due)

    def look(self, name: str, watched: Watched, now: float) -> None:
        watched.began, watched.is_looking = now, True
        watched.due = now + self.interval_s
        me = self.actor_ref
        watched.looks.submit(
            watched.executor.look, lambda found, broke: tell(me, Probed(name, found or Look(broke)))
        )

    def probed(self, name: str, look: Look) -> None:
        watched = self.watched[name]
        watched.is_looking = False
        if look.error is None:
            if watched.failures:
                log.info("backend %s is well again", name)
            watched.failures = 0
        else:
            watched.failures += 1
            if watched.failures == 1:
                log.warning("backend %s is not well: %s", name, look.error)
            rest_s = min(self.max_rest_s, look.retry_after_s or 0.0)
            delay_s = max(probe_delay(watched.failures), rest_s)
            watched.due = min(watched.due, self.clock() + delay_s)
        tell(self.scheduler, BackendChanged(name, look))
        for number, each in list(self.rounds.items()):
            if each.looks and watched.began >= each.since:
                self.add(number, name, True)

    # --- what doors ask for ---------------------------------------------------------------------

    def survey(self) -> None:
        """Have all looked at; a look that is on its way began too early to count."""
        now = self.clock()
        for watched in self.watched.values():
            watched.due = now
        self.begin(Round(self.later(), frozenset(self.watched), now, looks=True))

    def consult(self, asked: Consult) -> None:
        """Speak to each of these servers, in a thread of its own."""
        number = self.begin(Round(self.later(), frozenset(asked.backends), self.clock()))
        me = self.actor_ref

        def work(name: str, executor: Executor) -> None:
            call = partial(executor.consult, asked.path, asked.body, asked.limit_s)
            reply, broke = attempt(call)
            failed = Failed(broke or "", Verdict.FINAL)
            tell(me, Consulted(number, name, asked.loads, failed if reply is None else reply))

        for name in asked.backends:
            args = (name, self.watched[name].executor)
            thread = threading.Thread(
                target=work, args=args, name="ollama-queue-consult", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:  # the system has no more, or the program ends
                tell(me, Consulted(number, name, False, Failed(str(error), Verdict.FINAL)))

    def begin(self, asked: Round) -> int:
        number = next(self.numbers)
        if asked.names:
            self.rounds[number] = asked
        else:
            self.keep(asked.promise, {})
        return number

    def add(self, number: int, name: str, found: Any) -> None:
        """A backend has done its part of what was asked; the last one makes the answer whole."""
        asked = self.rounds[number]
        asked.found[name] = found
        if asked.found.keys() >= asked.names:
            del self.rounds[number]
            self.keep(asked.promise, asked.found)
