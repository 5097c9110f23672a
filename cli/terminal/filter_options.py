"""The options that choose tasks, wherever a command may be about many."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

STATUSES = ("pending", "running", "completed", "failed", "cancelled")
TYPES = ("chat", "generate", "embed")
REASONS = ("slot", "schedule", "retry", "backend", "paused")

F = TypeVar("F", bound=Callable[..., Any])


def _any_of(flag: str, field: str, help: str, **more: Any) -> Callable[[F], F]:
    """An option that may be given several times: any of its values will do."""
    return click.option(flag, field, multiple=True, help=f"{help} Repeatable.", **more)


# By the names that a filter has for them.
_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "status": _any_of(
        "--status",
        "status",
        f"Only these: {', '.join(STATUSES)}.",
        type=click.Choice(STATUSES),
        metavar="STATUS",
    ),
    "type": _any_of("--type", "type", "Only chat, generate or embed.", type=click.Choice(TYPES)),
    "priority": _any_of(
        "--priority", "priority", "Only of this level: a name, or 1 to 15.", metavar="LEVEL"
    ),
    "model": _any_of("--model", "model", "Only for this model.", metavar="NAME"),
    "batch_id": _any_of("--batch", "batch_id", "Only of this batch.", metavar="ID"),
    "cron_id": _any_of("--cron", "cron_id", "Only of this cron.", metavar="ID"),
    "tenant": _any_of("--tenant", "tenant", "Only of this tenant.", metavar="NAME"),
    "tag": _any_of("--tag", "tag", "Only with this tag.", metavar="TAG"),
    "waiting_for": _any_of(
        "--waiting-for",
        "waiting_for",
        f"Only what waits for this: {', '.join(REASONS)}.",
        type=click.Choice(REASONS),
        metavar="REASON",
    ),
    "since": click.option("--since", metavar="TIME", help="Only what was submitted then or later."),
    "until": click.option("--until", metavar="TIME", help="Only what was submitted before."),
    "q": click.option(
        "--search", "-q", "q", metavar="TEXT", help="Text in id, model, tags or title."
    ),
}


def filtering(command: F) -> F:
    """Add all of them; `chosen` reads what was given."""
    for option in reversed(_OPTIONS.values()):
        command = option(command)
    return command


def chosen(given: dict[str, Any]) -> dict[str, Any]:
    """What was given, as a filter has it."""
    return {name: given[name] for name in _OPTIONS if given[name] not in ((), None)}


def flag(name: str) -> str:
    """What the option of a filter's field is called on the command line."""
    names = {"batch_id": "--batch", "cron_id": "--cron", "q": "--search"}
    return names.get(name, f"--{name.replace('_', '-')}")
