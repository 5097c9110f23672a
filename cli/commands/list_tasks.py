"""`list`: which tasks there are."""

from typing import Any

import click

from ..terminal import output
from ..terminal.filter_options import filtering
from ..terminal.session import open_queue, session_of, shared

SORTS = ("created", "started", "ended", "priority")


@click.command("list")
@filtering
@click.option(
    "--sort",
    type=click.Choice(SORTS),
    default="created",
    show_default=True,
    help="The newest or the highest come first.",
)
@click.option("--limit", type=int, default=100, show_default=True, help="How many at most.")
@click.option("--offset", type=int, default=0, help="How many of the first to leave out.")
@click.option("--cursor", metavar="CURSOR", help="Go on where a list has ended.")
@shared
@click.pass_context
def list_(ctx: click.Context, /, **given: Any) -> None:
    """List tasks, the newest first.

    Options of different names narrow the list down together. A TIME is such as
    2026-12-25T10:00:00Z. Where more are left, the last line says how to go on.

    \b
    Example:
      ollama-queue list --status running --status pending --limit 10
      ollama-queue list --search invoice --model qwen3 --since 2026-01-01T00:00:00Z
      ollama-queue list --status failed --sort ended --output json
    """
    from ...actors.api.verbs import full_page
    from ...actors.core.intake.filters import task_filter

    wanted = task_filter({name: value for name, value in given.items() if value != ()})
    session = session_of(ctx)
    page = full_page(open_queue(ctx).list_page, wanted)
    output.print_tasks(session, page.tasks)
    if page.cursor is not None and not session.speaks_json:
        of = "" if page.total is None else f" of {page.total}"
        session.say(f"{len(page.tasks)}{of}; for more, repeat this with --cursor {page.cursor}")
