"""The commands that follow: `stream` a reply, `events` of the queue."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from ...actors.core.model.event_names import EVENTS
from ...actors.core.text.escaping import visible
from ..terminal import output
from ..terminal.reply_text import words
from ..terminal.session import (
    Session,
    TaskNotCompleted,
    one_line,
    open_queue,
    session_of,
    shared,
)
from ..terminal.waiting import Interrupted

if TYPE_CHECKING:
    from ...actors.core.model.tasks import Chunk, Event


def print_stream(session: Session, task_id: str, chunks: "Iterator[Chunk]") -> None:
    """Print the reply as it comes; with JSON, a line per chunk. Raises `TaskNotCompleted`."""
    writer = _Writer()
    try:
        for chunk in chunks:
            if session.speaks_json:
                output.print_json_line(chunk)
            elif chunk.restart:
                writer.end()
                click.echo("That attempt was lost; from the beginning:", err=True)
            elif not chunk.done:
                writer.write(words(chunk.data))
            if chunk.done:
                writer.end()
                _check(task_id, chunk)
    except KeyboardInterrupt:
        writer.end()
        raise Interrupted([task_id]) from None


def _check(task_id: str, last: "Chunk") -> None:
    if last.status == "cancelled":
        raise TaskNotCompleted(f"task {task_id} was cancelled")
    if last.status != "completed":
        raise TaskNotCompleted(f"task {task_id} failed: {last.error}")


class _Writer:
    """Prints pieces of one text, and at its end the line's, if that is missing.

    On a terminal all but line breaks and tabs that is unseen, or would be obeyed, is written out. A
    pipe gets what the model said.
    """

    def __init__(self) -> None:
        self._last = "\n"

    def write(self, text: str) -> None:
        if not text:
            return
        shown = text
        if sys.stdout.isatty():
            shown = visible(text, keep="\n\t", before=self._last)
        click.echo(shown, nl=False, color=True)
        sys.stdout.flush()
        self._last = text[-1]

    def end(self) -> None:
        if self._last != "\n":
            click.echo()
            self._last = "\n"


@click.command()
@click.argument("task_id", metavar="ID")
@shared
@click.pass_context
def stream(ctx: click.Context, task_id: str) -> None:
    """Stream a task's reply.

    Starts at the first word, whether the task waits, runs or has ended. With --output json, one
    line per chunk.

    \b
    Example:
      ollama-queue stream 0199c2a4-7d3e-7b11-8f00-5a2e9d1c4b60
    """
    print_stream(session_of(ctx), task_id, open_queue(ctx).stream_task(task_id))


@click.command()
@click.option(
    "--events",
    "names",
    multiple=True,
    type=click.Choice(sorted(EVENTS)),
    metavar="NAME",
    help=f"Event: {', '.join(sorted(EVENTS))}. Repeatable.",
)
@click.option(
    "--task", "task_ids", multiple=True, metavar="ID", help="Only those of this task. Repeatable."
)
@shared
@click.pass_context
def events(ctx: click.Context, names: tuple[str, ...], task_ids: tuple[str, ...]) -> None:
    """Print one line per event, until Ctrl-C.

    \b
    Example:
      ollama-queue events --events task_completed --events task_failed
    """
    session = session_of(ctx)
    subscription = open_queue(ctx).subscribe(names or None, task_ids or None)
    session.say("Listening; Ctrl-C ends it.")
    try:
        for event in subscription:
            if session.speaks_json:
                output.print_json_line(event)
            else:
                click.echo(_line(event))
            sys.stdout.flush()
    except KeyboardInterrupt:
        ctx.exit(Interrupted.exit_code)
    finally:
        subscription.close()


def _line(event: "Event") -> str:
    task: Any = event.task
    facts = [f"{event.at:%Y-%m-%dT%H:%M:%SZ}", event.event]
    if task is not None:
        facts += [task.id, f"{task.type} {one_line(task.model)}"]
        if event.event == "priority_updated":
            facts.append(f"priority {task.priority}")
        if task.error and event.event in ("task_failed", "task_retrying"):
            facts.append(one_line(task.error))
    facts += [one_line(fact) for fact in (event.cron_id, event.reason) if fact]
    return "  ".join(facts)


COMMANDS: tuple[Any, ...] = (stream, events)
