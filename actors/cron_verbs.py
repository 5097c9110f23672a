"""The verbs of crons, for `QueueManager`."""

from collections.abc import Mapping
from typing import Any

from ollama_queue.actors.actor import ask
from ollama_queue.actors.core.cron_forms import fields_of, new_cron
from ollama_queue.actors.core.cron_records import Cron, NewCron
from ollama_queue.actors.core.messages import (
    AddCron,
    EnableCron,
    GetCron,
    ListCrons,
    RemoveCron,
    RunNow,
    UpdateCron,
)
from ollama_queue.actors.core.records import Submitted
from ollama_queue.actors.switchboard import Generation


class CronVerbs:
    """Needs `_now`, which gives the actors of this boot."""

    def _now(self) -> Generation:
        raise NotImplementedError

    def add_cron_task(self, new: NewCron | Mapping[str, Any]) -> str:
        made: Cron = ask(self._now().ticker, AddCron(new_cron(new)))
        return made.id

    def list_cron_tasks(self) -> list[Cron]:
        return ask(self._now().ticker, ListCrons())  # type: ignore[no-any-return]

    def get_cron_task(self, cron_id: str) -> Cron:
        return ask(self._now().ticker, GetCron(cron_id))  # type: ignore[no-any-return]

    def update_cron_task(self, cron_id: str, changes: NewCron | Cron | Mapping[str, Any]) -> Cron:
        return ask(  # type: ignore[no-any-return]
            self._now().ticker, UpdateCron(cron_id, fields_of(changes))
        )

    def remove_cron_task(self, cron_id: str) -> Cron:
        return ask(self._now().ticker, RemoveCron(cron_id))  # type: ignore[no-any-return]

    def enable_cron_task(self, cron_id: str) -> Cron:
        return ask(self._now().ticker, EnableCron(cron_id, True))  # type: ignore[no-any-return]

    def disable_cron_task(self, cron_id: str) -> Cron:
        return ask(self._now().ticker, EnableCron(cron_id, False))  # type: ignore[no-any-return]

    def run_cron_task(self, cron_id: str) -> Submitted:
        return ask(self._now().ticker, RunNow(cron_id))  # type: ignore[no-any-return]
