"""The verbs of crons, for `QueueManager`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from ..base.actor import ask
from ..core.intake import arguments
from ..core.intake.arguments import OfCron
from ..core.intake.crons import fields_of, new_cron
from ..core.messages import (
    AddCron,
    EnableCron,
    GetCron,
    ListCrons,
    RemoveCron,
    RunNow,
    UpdateCron,
)
from ..core.model.crons import Cron, CronAdded, IfExists, NewCron
from ..core.model.tasks import Submitted
from ..supervision.switchboard import Generation


class CronVerbs:
    """Needs `_now`, which gives the actors of this boot."""

    def _now(self) -> Generation:
        raise NotImplementedError

    def add_cron(
        self, new: NewCron | Mapping[str, Any], *, if_exists: IfExists | None = None
    ) -> CronAdded:
        """As `add_cron_task`; says too whether it is a new one."""
        what = arguments.if_exists(if_exists)
        with arguments.reading("new"):
            fields = fields_of(new)
            asked = AddCron(new_cron(fields), what, "enabled" in fields)
        return ask(self._now().ticker, asked)  # type: ignore[no-any-return]

    def add_cron_task(
        self, new: NewCron | Mapping[str, Any], *, if_exists: IfExists | None = None
    ) -> str:
        return self.add_cron(new, if_exists=if_exists).id

    def list_cron_tasks(self) -> list[Cron]:
        return ask(self._now().ticker, ListCrons())  # type: ignore[no-any-return]

    def get_cron_task(self, cron_id: OfCron) -> Cron:
        return ask(self._now().ticker, GetCron(arguments.cron_id(cron_id)))  # type: ignore[no-any-return]

    def update_cron_task(
        self, cron_id: OfCron, changes: NewCron | Cron | Mapping[str, Any]
    ) -> Cron:
        wanted = arguments.cron_id(cron_id)
        with arguments.reading("changes"):
            facts = msgspec.json.decode(msgspec.json.encode(fields_of(changes)))
        return ask(self._now().ticker, UpdateCron(wanted, facts))  # type: ignore[no-any-return]

    def remove_cron_task(self, cron_id: OfCron) -> Cron:
        return ask(self._now().ticker, RemoveCron(arguments.cron_id(cron_id)))  # type: ignore[no-any-return]

    def enable_cron_task(self, cron_id: OfCron) -> Cron:
        return ask(self._now().ticker, EnableCron(arguments.cron_id(cron_id), True))  # type: ignore[no-any-return]

    def disable_cron_task(self, cron_id: OfCron) -> Cron:
        return ask(self._now().ticker, EnableCron(arguments.cron_id(cron_id), False))  # type: ignore[no-any-return]

    def run_cron_task(self, cron_id: OfCron) -> Submitted:
        return ask(self._now().ticker, RunNow(arguments.cron_id(cron_id)))  # type: ignore[no-any-return]
