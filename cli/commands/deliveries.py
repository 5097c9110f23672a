"""`deliveries`: what webhooks have been sent, and what they answered."""

from typing import TYPE_CHECKING, Any

import click

from ...actors.core.text.escaping import visible
from ..terminal import output
from ..terminal.session import open_queue, session_of, shared

if TYPE_CHECKING:
    from ...actors.core.model.deliveries import Delivery

ANSWER = 200  # characters that are shown of an error
COLUMNS = ("ID", "EVENT", "TASK", "TO", "STATUS", "ATTEMPTS", "ANSWER")


@click.group()
@shared
def deliveries() -> None:
    """Show the events that were sent to webhooks, and send them again.

    \b
    Example:
      ollama-queue deliveries list --status failed
      ollama-queue deliveries retry msg_000000010000002a00
    """


@deliveries.command("list")
@click.option("--task", "task_id", metavar="ID", help="Only those about this task.")
@click.option(
    "--status",
    type=click.Choice(["pending", "delivered", "failed"]),
    help="Only those in this state.",
)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--cursor", metavar="CURSOR", help="Continue where a page ended.")
@shared
@click.pass_context
def list_(ctx: click.Context, /, **filters: Any) -> None:
    """List deliveries, newest first.

    \b
    Example:
      ollama-queue deliveries list --status failed
    """
    session = session_of(ctx)
    page = open_queue(ctx).list_deliveries(**filters)
    if session.speaks_json:
        output.print_json(page)
        return
    if not page.deliveries:
        session.say("No deliveries.")
    else:
        output.print_plain([COLUMNS, *map(_row, page.deliveries)])
    output.say_more(session, page.cursor)


@deliveries.command()
@click.argument("delivery_id", metavar="ID")
@shared
@click.pass_context
def retry(ctx: click.Context, /, delivery_id: str) -> None:
    """Make a delivery again now, also if it has ended.

    \b
    Example:
      ollama-queue deliveries retry msg_000000010000002a00
    """
    delivery = open_queue(ctx).retry_delivery(delivery_id)
    if session_of(ctx).speaks_json:
        output.print_json(delivery)
    else:
        output.print_plain([COLUMNS, _row(delivery)])


def _row(it: "Delivery") -> tuple[str, ...]:
    last = it.attempts[-1] if it.attempts else None
    answer = "-" if last is None else last.error or str(last.status)
    return (
        it.id,
        it.event,
        it.task_id or "-",
        it.webhook or visible(it.url),
        it.status,
        str(it.attempt),
        visible(answer)[:ANSWER],
    )


COMMANDS: tuple[Any, ...] = (deliveries,)
