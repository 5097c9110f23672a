"""The `batch` commands: batches, and those whose tasks are the lines of a file."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

import click

from ...actors.core.model.errors import Conflict, Invalid
from ...actors.core.text.escaping import visible
from ..terminal import output
from ..terminal.session import (
    Session,
    TaskNotCompleted,
    one_line,
    open_files,
    open_queue,
    session_of,
    shared,
)
from ..terminal.waiting import Interrupted
from .batch import pieces_of
from .submit import fallback

if TYPE_CHECKING:
    from ...actors.api.queue_api import QueueAPI
    from ...actors.core.model.tasks import Batch

LOOK_S = 0.5
PAGE = 200
COLUMNS = ("ID", "STATUS", "TASKS", "DONE", "FAILED", "CREATED", "ENDPOINT")
_batch_id = click.argument("batch_id", metavar="ID")


@click.group()
@shared
def batch() -> None:
    """Run a file of requests in the background.

    Each line is a request as in OpenAI's batch API, and becomes a task of low priority.

    \b
    Example:
      ollama-queue batch create requests.jsonl --wait
    """


@batch.command()
@click.argument("path", metavar="FILE")
@click.option(
    "--endpoint",
    default="/v1/chat/completions",
    show_default=True,
    metavar="PATH",
    help="What all lines ask for.",
)
@click.option(
    "--window", default="24h", show_default=True, metavar="DURATION", help="Time limit: 24h or 7d."
)
@click.option("--priority", metavar="P", help="Priority of its tasks. Default: low.")
@fallback
@click.option("--wait", is_flag=True, help="Wait for its end; show its progress.")
@shared
@click.pass_context
def create(
    ctx: click.Context,
    /,
    path: str,
    endpoint: str,
    window: str,
    priority: str | None,
    fallback_models: list[str] | None,
    wait: bool,
) -> None:
    """Create a batch from a file, or - for stdin; prints its id.

    \b
    Example:
      ollama-queue batch create requests.jsonl --window 7d
    """
    session, files = session_of(ctx), open_files(ctx)
    with _opened(path) as file:
        file_id = files.upload("stdin.jsonl" if path == "-" else Path(path).name, file)
    fields: dict[str, Any] = {
        "input_file_id": file_id,
        "endpoint": endpoint,
        "completion_window": window,
    }
    if priority is not None:
        fields["metadata"] = {"priority": priority}
    made = files.create(fields, fallback_models)
    if wait:
        session.say(f"Batch {made.id}")
        _print_ended(session, _ended(session, open_queue(ctx), made))
    elif session.speaks_json:
        output.print_json(made)
    else:
        click.echo(made.id)
        session.say(f"Follow: ollama-queue batch show {made.id}")


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    """The file, or a copy of stdin, whose length must be known before it is sent."""
    try:
        with TemporaryFile() if path == "-" else open(path, "rb") as file:
            if path == "-":
                file.writelines(pieces_of(path))
                file.seek(0)
            yield file
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", field="file") from None


@batch.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@shared
@click.pass_context
def list_(ctx: click.Context, /, limit: int) -> None:
    """List batches, newest first.

    \b
    Example:
      ollama-queue batch list
    """
    session = session_of(ctx)
    batches = open_queue(ctx).list_batches(limit)
    if session.speaks_json:
        output.print_json(batches)
    elif not batches:
        session.say("No batches.")
    else:
        output.print_plain([COLUMNS, *map(_row, batches)])


@batch.command()
@_batch_id
@shared
@click.pass_context
def show(ctx: click.Context, /, batch_id: str) -> None:
    """Show a batch: its status, its progress, and what is wrong in its file.

    \b
    Example:
      ollama-queue batch show 0199a1b2-…
    """
    _print(session_of(ctx), open_queue(ctx).get_batch(batch_id))


@batch.command()
@_batch_id
@shared
@click.pass_context
def cancel(ctx: click.Context, /, batch_id: str) -> None:
    """Cancel the tasks of a batch that have not ended.

    \b
    Example:
      ollama-queue batch cancel 0199a1b2-…
    """
    _print(session_of(ctx), open_queue(ctx).cancel_batch(batch_id))


@batch.command()
@_batch_id
@click.option("--errors", is_flag=True, help="The lines without a reply instead.")
@shared
@click.pass_context
def results(ctx: click.Context, /, batch_id: str, errors: bool) -> None:
    """Print the replies of a batch, one JSON object per line, in the order of its tasks.

    \b
    Example:
      ollama-queue batch results 0199a1b2-… > replies.jsonl
    """
    queue = open_queue(ctx)
    found = queue.get_batch(batch_id)
    if found.job is None:
        _print_tasks(queue, found.id, errors)
        return
    if not found.job.status.is_final:
        raise Conflict(f"batch {found.id} is {found.job.status}: its files are written at its end")
    file_id = found.job.error_file_id if errors else found.job.output_file_id
    if file_id is not None:
        _print_lines(open_files(ctx).content(file_id))


def _print_lines(pieces: Iterator[bytes]) -> None:
    """Print a file as it is; on a terminal with escapes for what it should not get."""
    rest = b""
    for piece in pieces:
        if not sys.stdout.isatty():
            click.echo(piece, nl=False)
            continue
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            click.echo(visible(line.decode(errors="replace")))


def _print_tasks(queue: "QueueAPI", batch_id: str, errors: bool) -> None:
    """Print the results of a batch that is not from a file."""
    statuses = ["failed", "cancelled"] if errors else ["completed"]
    wanted: dict[str, Any] = {"batch_id": batch_id, "status": statuses, "limit": 1000}
    ids: list[str] = []
    while True:
        page = queue.list_page(wanted)
        ids += [task.id for task in page.tasks]
        if page.cursor is None:
            break
        wanted["cursor"] = page.cursor
    for task_id in reversed(ids):  # lists begin with the newest
        task = queue.get_task(task_id)
        fields = {"task_id": task.id, "status": task.status, "result": task.result}
        output.print_json_line({**fields, "error": task.error})


def _ended(session: Session, queue: "QueueAPI", made: "Batch") -> "Batch":
    """The batch, once it has ended; shows a progress bar on a terminal."""
    try:
        if session.shows_progress:
            return _with_bar(queue, made)
        while not (now := queue.get_batch(made.id)).is_settled:
            time.sleep(LOOK_S)
        return now
    except KeyboardInterrupt:
        raise Interrupted([made.id]) from None


def _with_bar(queue: "QueueAPI", made: "Batch") -> "Batch":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        shown = bar.add_task("", total=None)
        while not (now := queue.get_batch(made.id)).is_settled:
            ended = now.total - now.pending - now.running
            bar.update(shown, total=now.total or None, completed=ended)
            time.sleep(LOOK_S)
    return now


def _print_ended(session: Session, ended: "Batch") -> None:
    _print(session, ended)
    if status_of(ended) != "completed" or ended.failed:
        raise TaskNotCompleted(f"batch {ended.id} is {status_of(ended)}, {ended.failed} failed")


def status_of(found: "Batch") -> str:
    """The status of any batch in one word."""
    if found.job is not None:
        return str(found.job.status)
    return "completed" if found.is_over else "in_progress"


def _print(session: Session, found: "Batch") -> None:
    if session.speaks_json:
        output.print_json(found)
        return
    facts: dict[str, Any] = {"id": found.id, "status": status_of(found), "tasks": found.total}
    facts |= {name: getattr(found, name) or None for name in _COUNTS}
    facts["created"] = output.time_of(found.created_at)
    job = found.job
    if job is not None:
        facts["endpoint"] = job.endpoint
        facts["fallbacks"] = ", ".join(job.fallback_models or ())
        facts["time limit"] = output.time_of(job.expires_at)
        facts["tokens"] = f"{job.usage.input} in, {job.usage.output} out" if job.answered else None
        facts["input file"] = job.input_file_id
        facts["output file"] = job.output_file_id
        facts["error file"] = job.error_file_id
    output.print_facts(facts)
    for fault in job.faults if job is not None else ():
        place = "the file" if fault.line is None else f"line {fault.line}"
        click.echo(one_line(f"{place}: {fault.message} ({fault.code})"))


_COUNTS = ("pending", "running", "completed", "failed", "cancelled")


def _row(found: "Batch") -> tuple[str, ...]:
    ended = found.completed + found.failed + found.cancelled
    endpoint = found.job.endpoint if found.job is not None else ""
    return (
        *(found.id, status_of(found), str(found.total), str(ended), str(found.failed)),
        *(output.time_of(found.created_at), endpoint),
    )
