"""The options of the commands that create and change crons."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from .submit import messages_of, of_prompt, of_reply, of_task, of_texts

F = TypeVar("F", bound=Callable[..., Any])
OF_CRON = {
    "name": "name",
    "schedule": "cron_expr",
    "timezone": "timezone",
    "overlap": "overlap",
    "missed": "missed",
}


zone = click.option(
    "--timezone", metavar="ZONE", help="Time zone, e.g. Europe/Berlin. Default: UTC."
)


def cron_options(is_new: bool) -> Callable[[F], F]:
    """Add the options that describe the task to submit."""
    options = (
        click.option("--name", required=is_new, metavar="TEXT", help="Name of the cron."),
        click.option(
            "--schedule",
            required=is_new,
            metavar="CRON",
            help="Five fields or an alias such as @daily.",
        ),
        click.option("--model", required=is_new, metavar="NAME", help="Model name."),
        click.option("--prompt", metavar="TEXT", help="Prompt text."),
        click.option(
            "--messages",
            multiple=True,
            callback=messages_of,
            metavar="ROLE:TEXT",
            help="Chat message, as in submit chat. Repeatable.",
        ),
        click.option("--input", multiple=True, metavar="TEXT", help="Text to embed. Repeatable."),
        of_prompt,
        of_texts,
        of_reply,
        click.option(
            "--type",
            type=click.Choice(["generate", "chat", "embed"]),
            help="Task type, where the other options leave it open.",
        ),
        of_task,
        zone,
        click.option(
            "--overlap",
            type=click.Choice(["allow", "skip"]),
            help="Run (the default) or skip while the last task is unfinished.",
        ),
        click.option(
            "--missed",
            type=click.Choice(["skip", "once"]),
            help="Runs missed while the queue was down: skip (the default), or run once.",
        ),
    )

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def fields_of(options: dict[str, Any]) -> dict[str, Any]:
    """The given options under the field names of crons and tasks."""
    set_fields = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in options.items()
        if value not in (None, (), [], {}) or (name == "fallback_models" and value is not None)
    }
    fields = {OF_CRON[name]: value for name, value in set_fields.items() if name in OF_CRON}
    template = {name: value for name, value in set_fields.items() if name not in OF_CRON}
    return {**fields, "task_template": template}


def kind_of(options: dict[str, Any]) -> str:
    return "chat" if options["messages"] else "embed" if options["input"] else "generate"
