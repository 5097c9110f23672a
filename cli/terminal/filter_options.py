"""The options that select tasks, for every command that takes many."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from . import times

STATUSES = ("pending", "running", "completed", "failed", "cancelled")
TYPES = ("chat", "generate", "embed")
REASONS = ("slot", "schedule", "retry", "backend", "paused")
ERROR_CODES = ("expired",)

F = TypeVar("F", bound=Callable[..., Any])


def _any_of(flag: str, field: str, help: str, **more: Any) -> Callable[[F], F]:
    """A repeatable option; a task matches if it has any of the values."""
    return click.option(flag, field, multiple=True, help=f"{help} Repeatable.", **more)


# By the names that a filter has for them.
_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "status": _any_of(
        "--status",
        "status",
        f"Status: {', '.join(STATUSES)}.",
        type=click.Choice(STATUSES),
        metavar="STATUS",
    ),
    "type": _any_of("--type", "type", "Task type.", type=click.Choice(TYPES)),
    "priority": _any_of("--priority", "priority", "Priority: a name, or 1 to 15.", metavar="LEVEL"),
    "model": _any_of("--model", "model", "Model.", metavar="NAME"),
    "batch_id": _any_of("--batch", "batch_id", "Batch.", metavar="ID"),
    "cron_id": _any_of("--cron", "cron_id", "Cron.", metavar="ID"),
    "tenant": _any_of("--tenant", "tenant", "Tenant.", metavar="NAME"),
    "tag": _any_of("--tag", "tag", "Tag.", metavar="TAG"),
    "waiting_for": _any_of(
        "--waiting-for",
        "waiting_for",
        f"Reason to wait: {', '.join(REASONS)}.",
        type=click.Choice(REASONS),
        metavar="REASON",
    ),
    "error_code": _any_of(
        "--error-code",
        "error_code",
        "Why it failed: expired (past its deadline or start limit).",
        type=click.Choice(ERROR_CODES),
    ),
    "failure": _any_of("--failure", "failure", "Group of `failures`.", metavar="ID"),
    "since": click.option(
        "--since",
        metavar=times.TIME,
        callback=times.ago,
        help="Submitted at this time or later; 2h is two hours ago.",
    ),
    "until": click.option(
        "--until", metavar=times.TIME, callback=times.ago, help="Submitted before this time."
    ),
    "q": click.option(
        "--search", "-q", "q", metavar="TEXT", help="Search in id, model, tags and title."
    ),
}


def filtering(command: F) -> F:
    """Add all filter options; `chosen` reads their values."""
    for option in reversed(_OPTIONS.values()):
        command = option(command)
    return command


def chosen(options: dict[str, Any]) -> dict[str, Any]:
    """The given options as the fields of a `TaskFilter`."""
    return {name: options[name] for name in _OPTIONS if options[name] not in ((), None)}


def flag(name: str) -> str:
    """The command line option of a filter's field."""
    names = {"batch_id": "--batch", "cron_id": "--cron", "q": "--search"}
    return names.get(name, f"--{name.replace('_', '-')}")
