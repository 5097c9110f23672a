"""The crons of an embedded queue: converts arguments to commands for the CronTicker."""

from collections.abc import Mapping
from typing import Any

import msgspec

from ..base.actor import ask
from ..core.intake import arguments
from ..core.intake.arguments import OfCron
from ..core.intake.crons import fields_of, new_cron
from ..core.messages import (
    AddCron,
    Command,
    EnableCron,
    GetCron,
    ListCrons,
    RemoveCron,
    RunNow,
    UpdateCron,
)
from ..core.messages.command import Reply
from ..core.model.crons import Cron, CronAdded, IfExists, NewCron
from ..core.model.tasks import Submitted
from ..supervision.switchboard import Switchboard
from .auditing import Auditor


class EmbeddedCrons:
    """`QueueManager`'s verbs for crons. They raise `NotFound` for an unknown id."""

    def __init__(self, switchboard: Switchboard, auditor: Auditor) -> None:
        self._switchboard, self._note = switchboard, auditor.note

    def _ask(self, command: Command[Reply]) -> Reply:
        return ask(self._switchboard.current().ticker, command)

    def add(self, new: NewCron | Mapping[str, Any], if_exists: IfExists | None) -> CronAdded:
        what = arguments.if_exists(if_exists)
        with arguments.reading("new"):
            fields = fields_of(new)
            new = new_cron(fields)
            note = self._note("add_cron_task", "", new.name)
            command = AddCron(new, what, "enabled" in fields, audit=note)
        return self._ask(command)

    def all(self) -> list[Cron]:
        return ask(self._switchboard.readable().ticker, ListCrons())

    def get(self, cron_id: OfCron) -> Cron:
        return ask(self._switchboard.readable().ticker, GetCron(arguments.cron_id(cron_id)))

    def update(self, cron_id: OfCron, changes: NewCron | Cron | Mapping[str, Any]) -> Cron:
        plain_id = arguments.cron_id(cron_id)
        with arguments.reading("changes"):
            facts = msgspec.json.decode(msgspec.json.encode(fields_of(changes)))
        note = self._note("update_cron_task", plain_id, ", ".join(sorted(map(str, facts))))
        return self._ask(UpdateCron(plain_id, facts, audit=note))

    def remove(self, cron_id: OfCron) -> Cron:
        plain_id = arguments.cron_id(cron_id)
        return self._ask(RemoveCron(plain_id, audit=self._note("remove_cron_task", plain_id)))

    def enable(self, cron_id: OfCron, is_enabled: bool) -> Cron:
        plain_id = arguments.cron_id(cron_id)
        note = self._note(f"{'enable' if is_enabled else 'disable'}_cron_task", plain_id)
        return self._ask(EnableCron(plain_id, is_enabled, audit=note))

    def run(self, cron_id: OfCron) -> Submitted:
        plain_id = arguments.cron_id(cron_id)
        return self._ask(RunNow(plain_id, audit=self._note("run_cron_task", plain_id)))
