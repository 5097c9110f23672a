"""Looks at each backend: is it well, which models has it, which of them are loaded?"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import assert_never

from ollama_queue.actors.actor import Actor, Ref, log, tell
from ollama_queue.actors.core.backoff import probe_delay
from ollama_queue.actors.core.messages import BackendChanged, Probed, ToProber, Wake
from ollama_queue.actors.core.orders import Watch
from ollama_queue.actors.core.outcomes import Look
from ollama_queue.actors.executors import Executor
from ollama_queue.actors.pool import attempt

LEAST_S = 0.25  # between two looks at the same backend, however often it is asked for


class Watched:
    """One backend, and when to look at it again. One look at a time."""

    def __init__(self, executor: Executor, due: float) -> None:
        self.executor, self.due = executor, due
        self.began = 0.0
        self.is_looking = False
        self.failures = 0  # in a row


class Prober(Actor):
    """Looks at all backends at the start, every `interval_s` seconds, and when told to.

    A look runs in a thread of its own. One that is not well is looked at after 1, 2, 4 … 30 s.
    """

    def __init__(
        self,
        report: Callable[[str], None],
        *,
        executors: Mapping[str, Executor],
        interval_s: float,
        scheduler: Ref,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(report)
        self.scheduler, self.interval_s, self.clock = scheduler, interval_s, clock
        now = clock()
        self.watched = {name: Watched(executor, now) for name, executor in executors.items()}

    def on_start(self) -> None:
        self.look_at_the_due()

    def handle(self, message: ToProber) -> None:
        match message:
            case Watch(backend, delay_s):
                watched = self.watched[backend]
                watched.due = min(watched.due, self.clock() + delay_s)
            case Wake():
                pass
            case Probed(backend, look):
                self.probed(backend, look)
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
        me, executor = self.actor_ref, watched.executor

        def work() -> None:
            found, broke = attempt(executor.look)
            tell(me, Probed(name, found or Look(broke)))

        threading.Thread(target=work, name="ollama-queue-probe", daemon=True).start()

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
            delay_s = probe_delay(watched.failures, look.retry_after_s)
            watched.due = min(watched.due, self.clock() + delay_s)
        tell(self.scheduler, BackendChanged(name, look))
