"""To the CronTicker: commands of doors, and what became of a run."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ..model.crons import Cron, CronAdded, IfExists, NewCron
from ..model.tasks import Submitted
from .command import Command
from .wake import Wake


class AddCron(Command[CronAdded], frozen=True):
    """Take on a cron that the door has checked. Reply: `CronAdded`, once it is on disk.

    Where there is one of its name, `if_exists` says what to do: "update" it, "keep" it as it is, or
    "error", which is `Conflict`; None makes another one. `sets_enabled`: `enabled` was given, so
    that an update switches it too.
    """

    new: NewCron
    if_exists: IfExists | None = None
    sets_enabled: bool = True


class UpdateCron(Command[Cron], frozen=True):
    """Change these fields. Reply: `Cron`, once it is on disk; `Invalid`, `NotFound`."""

    cron_id: str
    fields: Mapping[str, Any]


class EnableCron(Command[Cron], frozen=True):
    """Let it run by the clock, or no longer. Reply: `Cron`, once it is on disk."""

    cron_id: str
    enabled: bool


class RemoveCron(Command[Cron], frozen=True):
    """Reply: the last of the `Cron`, once it is gone from disk. Its tasks stay."""

    cron_id: str


class RunNow(Command[Submitted], frozen=True):
    """Run it once, whatever the clock says. Reply: `Submitted`; `Conflict`, `QueueFull`."""

    cron_id: str


class GetCron(Command[Cron], frozen=True):
    """Reply: `Cron`, or `NotFound`; nothing that a crash could take back."""

    cron_id: str


class ListCrons(Command[list[Cron]], frozen=True):
    """Reply: all crons, the oldest first."""


class CronFired(Struct, frozen=True):
    """The scheduler is done with a run: the cron as it has saved it, or as it was."""

    cron: Cron


ToCronTicker = (
    AddCron | UpdateCron | EnableCron | RemoveCron | RunNow | GetCron | ListCrons | CronFired | Wake
)
