"""Finds out when a backend that is out is well again."""

import threading
import time
from collections.abc import Callable
from typing import assert_never

from ollama_queue.actors.actor import Actor, Ref, log, tell
from ollama_queue.actors.core.backoff import probe_delay
from ollama_queue.actors.core.messages import BackendChanged, Probed, ToProber, Wake
from ollama_queue.actors.core.orders import Watch
from ollama_queue.actors.executors import Executor
from ollama_queue.actors.pool import attempt


class Prober(Actor):
    """Probes one backend in a thread of its own, at growing intervals, until it is well."""

    def __init__(
        self,
        report: Callable[[str], None],
        *,
        executor: Executor,
        scheduler: Ref,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(report)
        self.executor, self.scheduler, self.clock = executor, scheduler, clock
        self.backend = ""
        self.due: float | None = None
        self.failures = 0

    def handle(self, message: ToProber) -> None:
        match message:
            case Watch(backend, delay_s):
                log.warning("backend %s is out, to be probed in %g s", backend, delay_s)
                self.backend, self.failures = backend, 0
                self.probe_at(self.clock() + delay_s)
            case Wake():
                if self.due is not None and self.due <= self.clock():
                    self.due = None
                    self.probe()
                else:
                    self.wake_at(self.due)
            case Probed(error):
                self.probed(error)
            case _:
                assert_never(message)

    def probe_at(self, due: float) -> None:
        self.due = due
        self.wake_at(due)

    def probe(self) -> None:
        me, executor = self.actor_ref, self.executor

        def work() -> None:
            found, broke = attempt(executor.look)
            tell(me, Probed(broke or found.error))

        threading.Thread(target=work, name="ollama-queue-probe", daemon=True).start()

    def probed(self, error: str | None) -> None:
        if error is None:
            log.info("backend %s is well again", self.backend)
            tell(self.scheduler, BackendChanged(self.backend))
        else:
            self.failures += 1
            self.probe_at(self.clock() + probe_delay(self.failures + 1))
