"""`list`: which tasks there are."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ollama_queue.cli import output
from ollama_queue.cli.session import open_queue, session_of, shared

STATUSES = ("pending", "running", "completed", "failed", "cancelled")
TYPES = ("chat", "generate", "embed")
SORTS = ("created", "started", "ended", "priority")

F = TypeVar("F", bound=Callable[..., Any])


def _any_of(flag: str, field: str, help: str, **more: Any) -> Callable[[F], F]:
    """An option that may be given several times: any of its values will do."""
    return click.option(flag, field, multiple=True, help=f"{help} Repeatable.", **more)


@click.command("list")
@_any_of(
    "--status",
    "status",
    f"Only these: {', '.join(STATUSES)}.",
    type=click.Choice(STATUSES),
    metavar="STATUS",
)
@_any_of("--type", "type", "Only chat, generate or embed.", type=click.Choice(TYPES))
@_any_of("--priority", "priority", "Only of this level: a name, or 1 to 15.", metavar="LEVEL")
@_any_of("--model", "model", "Only for this model.", metavar="NAME")
@_any_of("--batch", "batch_id", "Only of this batch.", metavar="ID")
@_any_of("--cron", "cron_id", "Only of this cron.", metavar="ID")
@_any_of("--tenant", "tenant", "Only of this tenant.", metavar="NAME")
@_any_of("--tag", "tag", "Only with this tag.", metavar="TAG")
@click.option("--since", metavar="TIME", help="Only what was submitted then or later.")
@click.option("--until", metavar="TIME", help="Only what was submitted before.")
@click.option("--search", "-q", "q", metavar="TEXT", help="Text in id, model, tags or title.")
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
    from ollama_queue.actors.core.filters import task_filter
    from ollama_queue.actors.verbs import full_page

    wanted = task_filter({name: value for name, value in given.items() if value != ()})
    session = session_of(ctx)
    page = full_page(open_queue(ctx).list_page, wanted)
    output.print_tasks(session, page.tasks)
    if page.cursor is not None and not session.speaks_json:
        of = "" if page.total is None else f" of {page.total}"
        session.say(f"{len(page.tasks)}{of}; for more, repeat this with --cursor {page.cursor}")
