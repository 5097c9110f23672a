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


class EmbeddedCrons:
    """`QueueManager`'s verbs for crons. They raise `NotFound` for an unknown id."""

    def __init__(self, switchboard: Switchboard) -> None:
        self._switchboard = switchboard

    def _ask(self, command: Command[Reply]) -> Reply:
        return ask(self._switchboard.current().ticker, command)

    def add(self, new: NewCron | Mapping[str, Any], if_exists: IfExists | None) -> CronAdded:
        what = arguments.if_exists(if_exists)
        with arguments.reading("new"):
            fields = fields_of(new)
            command = AddCron(new_cron(fields), what, "enabled" in fields)
        return self._ask(command)

    def all(self) -> list[Cron]:
        return self._ask(ListCrons())

    def get(self, cron_id: OfCron) -> Cron:
        return self._ask(GetCron(arguments.cron_id(cron_id)))

    def update(self, cron_id: OfCron, changes: NewCron | Cron | Mapping[str, Any]) -> Cron:
        plain_id = arguments.cron_id(cron_id)
        with arguments.reading("changes"):
            facts = msgspec.json.decode(msgspec.json.encode(fields_of(changes)))
        return self._ask(UpdateCron(plain_id, facts))

    def remove(self, cron_id: OfCron) -> Cron:
        return self._ask(RemoveCron(arguments.cron_id(cron_id)))

    def enable(self, cron_id: OfCron, is_enabled: bool) -> Cron:
        return self._ask(EnableCron(arguments.cron_id(cron_id), is_enabled))

    def run(self, cron_id: OfCron) -> Submitted:
        return self._ask(RunNow(arguments.cron_id(cron_id)))
