"""`list`: list tasks."""

from typing import Any

import click

from ..terminal import output
from ..terminal.filter_options import filtering
from ..terminal.session import open_queue, session_of, shared

SORTS = ("created", "started", "ended", "priority")
PARTS = ("payload", "result")


@click.command("list")
@filtering
@click.option(
    "--sort",
    type=click.Choice(SORTS),
    default="created",
    show_default=True,
    help="Sort key, newest or highest first.",
)
@click.option("--limit", type=int, default=100, show_default=True, help="Most tasks to list.")
@click.option("--offset", type=int, default=0, help="Tasks to skip.")
@click.option("--cursor", metavar="CURSOR", help="Continue where a page ended.")
@click.option(
    "--include",
    type=click.Choice(PARTS),
    multiple=True,
    help="Part that lists leave out, for --output json. Repeatable.",
)
@shared
@click.pass_context
def list_(ctx: click.Context, /, **given: Any) -> None:
    """List tasks, newest first.

    Values of one option are ORed, different options are ANDed. A TIME is like 2026-12-25T10:00:00Z.
    If there are more tasks, the last line of stderr says how to continue.

    \b
    Example:
      ollama-queue list --status running --status pending --limit 10
      ollama-queue list --search invoice --model qwen3 --since 2026-01-01T00:00:00Z
      ollama-queue list --status failed --sort ended --output json
    """
    from ...actors.api.verbs import full_page
    from ...actors.core.intake.filters import task_filter

    checked = task_filter({name: value for name, value in given.items() if value != ()})
    session = session_of(ctx)
    page = full_page(open_queue(ctx).list_page, checked)
    output.print_tasks(session, page.tasks)
    of = "" if page.total is None else f" of {page.total}"
    output.say_more(session, page.cursor, f"{len(page.tasks)}{of}; ")
