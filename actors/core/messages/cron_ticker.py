"""To the CronTicker: commands of doors, and the results of runs."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ..model.crons import Cron, CronAdded, IfExists, NewCron
from ..model.tasks import Submitted
from .command import ChangeCommand, Command
from .wake import Wake


class AddCron(ChangeCommand[CronAdded], frozen=True):
    """Add a cron that the door has checked. Reply: `CronAdded`, once it is on disk.

    If its name exists, `if_exists` says what to do: "update" the old one, "keep" it, or "error",
    which is `Conflict`; None adds another one. `sets_enabled`: `enabled` was passed, so an update
    changes it too.
    """

    new: NewCron
    if_exists: IfExists | None = None
    sets_enabled: bool = True


class UpdateCron(ChangeCommand[Cron], frozen=True):
    """Change these fields. Reply: `Cron`, once it is on disk; `Invalid`, `NotFound`."""

    cron_id: str
    fields: Mapping[str, Any]


class EnableCron(ChangeCommand[Cron], frozen=True):
    """Enable or disable scheduled runs. Reply: `Cron`, once it is on disk."""

    cron_id: str
    enabled: bool


class RemoveCron(ChangeCommand[Cron], frozen=True):
    """Delete a cron, but not its tasks. Reply: the last `Cron`, once it is gone from disk."""

    cron_id: str


class RunNow(ChangeCommand[Submitted], frozen=True):
    """Run it once now, regardless of its schedule. Reply: `Submitted`; `Conflict`, `QueueFull`."""

    cron_id: str


class GetCron(Command[Cron], frozen=True):
    """Reply: `Cron`, or `NotFound`; only what is durable."""

    cron_id: str


class ListCrons(Command[list[Cron]], frozen=True):
    """Reply: all crons, oldest first."""


class CronFired(Struct, frozen=True):
    """The scheduler is done with a run: the cron as saved, or unchanged."""

    cron: Cron


ToCronTicker = (
    AddCron | UpdateCron | EnableCron | RemoveCron | RunNow | GetCron | ListCrons | CronFired | Wake
)
