"""Stands in for Scheduler and CronTicker while nothing can be saved."""

import time
from collections.abc import Callable
from typing import Any

from .base.actor import Actor
from .base.breathing import Breathe, as_threads_do
from .core.messages import (
    Describe,
    Drain,
    Explain,
    GetCron,
    GetReasons,
    ListCrons,
)
from .core.model.errors import NotFound, Unavailable
from .core.plan.explain import looked_up
from .core.plan.plan import Plan
from .store.rocksdb import Recovered


class Caretaker(Actor):
    """Answers what only reads, and refuses all else in the same words.

    Its plan has no slots: it tells where tasks stand, and starts none.
    """

    def __init__(
        self,
        report: Callable[[str], None],
        *,
        breathe: Breathe = as_threads_do,
        plan: Plan,
        recovered: Recovered,
        refusal: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(report, breathe)
        self.plan, self.refusal, self.clock = plan, refusal, clock
        self.crons = {cron.id: cron for cron in recovered.crons}
        flags = [name for name, is_on in recovered.flags.items() if is_on]
        plan.recover(recovered.waiting, [], [], flags, clock())

    def handle(self, message: Any) -> Any:
        match message:
            case Explain() | GetReasons() | Describe():
                return looked_up(self.plan, message, self.clock())
            case GetCron(cron_id):
                if cron_id not in self.crons:
                    raise NotFound(f"there is no cron {cron_id}", field="id")
                return self.crons[cron_id]
            case ListCrons():
                return [self.crons[cron_id] for cron_id in sorted(self.crons)]
            case Drain():
                return True
            case _:
                raise Unavailable(self.refusal, retry_after_s=5)
