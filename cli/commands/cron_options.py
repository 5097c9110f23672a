"""The options of the commands that make and change crons."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from .submit import messages_of, settings_of

F = TypeVar("F", bound=Callable[..., Any])
OF_CRON = {
    "name": "name",
    "schedule": "cron_expr",
    "timezone": "timezone",
    "overlap": "overlap",
    "missed": "missed",
}


zone = click.option("--timezone", metavar="ZONE", help="Such as Europe/Berlin; the default is UTC.")


def cron_options(is_new: bool) -> Callable[[F], F]:
    """The options of what is submitted each time, and how."""
    options = (
        click.option("--name", required=is_new, metavar="TEXT", help="What you call it."),
        click.option(
            "--schedule",
            required=is_new,
            metavar="CRON",
            help="Five fields, or an alias such as @daily.",
        ),
        click.option("--model", required=is_new, metavar="NAME", help="The model that answers."),
        click.option("--prompt", metavar="TEXT", help="What the model is to go on from."),
        click.option(
            "--messages",
            multiple=True,
            callback=messages_of,
            metavar="ROLE:TEXT",
            help="For a chat: a message, as of submit chat. Repeatable.",
        ),
        click.option("--input", multiple=True, metavar="TEXT", help="To embed. Repeatable."),
        click.option("--system", metavar="TEXT", help="What the model is told first."),
        click.option(
            "--type",
            type=click.Choice(["generate", "chat", "embed"]),
            help="Needed only where the rest does not say it.",
        ),
        click.option("--priority", metavar="P", help="low, normal, high, critical, or 1 to 15."),
        click.option(
            "--option",
            "options",
            metavar="KEY=VALUE",
            multiple=True,
            callback=settings_of,
            help="A model option, such as temperature=0.2. Repeatable.",
        ),
        click.option("--max-retries", type=int, metavar="N", help="Of a failed call."),
        click.option(
            "--timeout",
            "timeout_s",
            type=float,
            metavar="SECONDS",
            help="A limit for each attempt.",
        ),
        click.option(
            "--tag", "tags", metavar="TAG", multiple=True, help="A word of yours. Repeatable."
        ),
        zone,
        click.option(
            "--overlap",
            type=click.Choice(["allow", "skip"]),
            help="Run also while the last task still waits or runs (the default), or skip.",
        ),
        click.option(
            "--missed",
            type=click.Choice(["skip", "once"]),
            help="Runs due while the queue was down: skip them (the default), or run once.",
        ),
    )

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def fields_of(given: dict[str, Any]) -> dict[str, Any]:
    """What was given, by the names that crons and tasks have for it."""
    said = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in given.items()
        if value not in (None, (), [], {})
    }
    fields = {OF_CRON[name]: value for name, value in said.items() if name in OF_CRON}
    template = {name: value for name, value in said.items() if name not in OF_CRON}
    return {**fields, "task_template": template}


def kind_of(given: dict[str, Any]) -> str:
    return "chat" if given["messages"] else "embed" if given["input"] else "generate"
