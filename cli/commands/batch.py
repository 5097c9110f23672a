"""`submit batch`: many tasks from a file, all or none."""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from ...actors.core.model.errors import Invalid
from ..terminal import output
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
    from ...actors.api.queue_api import QueueAPI
    from ...actors.core.model.tasks import BatchSubmitted, NewTask, Task

LOOK_S = 1.0
PIECE = 256 << 10  # bytes of a file that are read at once
LARGEST = 256 << 20  # bytes of one task; the server may take less


@click.command()
@click.option(
    "--file",
    "path",
    required=True,
    metavar="FILE",
    help="A .json list, a .jsonl file, or - for stdin.",
)
@click.option("--sync", is_flag=True, help="Wait for all tasks and print their results in order.")
@click.option(
    "--idempotency-key", metavar="KEY", help="Repeating the key and the file finds the first batch."
)
@shared
@click.pass_context
def batch(ctx: click.Context, /, path: str, sync: bool, idempotency_key: str | None) -> None:
    """Submit a file of tasks, all or none.

    The file contains a JSON list of tasks, or one task per line. It is validated as a whole first.

    \b
    Example:
      ollama-queue submit batch --file tasks.json --sync
    """
    session = session_of(ctx)
    queue = open_queue(ctx)
    submitted = queue.submit_batch(read_tasks(path), idempotency_key=idempotency_key)
    session.say(f"Batch {submitted.batch_id}: {len(submitted.task_ids)} tasks")
    if sync:
        _print_results(session, _ended(session, queue, submitted))
    elif session.speaks_json:
        output.print_json({"batch_id": submitted.batch_id, "task_ids": submitted.task_ids})
    else:
        click.echo("\n".join(submitted.task_ids))


def read_tasks(path: str) -> "Iterator[NewTask]":
    """The tasks of a file, checked. Raises `Invalid`, naming the item and its field."""
    from ...actors.core.intake.submission import new_task
    from ...actors.core.model.errors import error_at

    for index, raw in enumerate(_items(path)):
        with error_at(f"tasks[{index}]"):
            yield new_task(raw)


def _items(path: str) -> "Iterator[Any]":
    from ...actors.core.text.json_items import in_lines, in_list
    from ...actors.core.text.strict_json import decode
    from ...actors.files.text_encoding import as_utf8

    pieces = as_utf8(pieces_of(path), path, "file")
    first = b""
    while not first.strip() and (piece := next(pieces, b"")):
        first += piece
    is_list = first.lstrip()[:1] == b"["
    items = in_list if is_list else in_lines
    for place, item in items(chain([first], pieces), path, "file", LARGEST):
        yield decode(item, place if is_list else f"{place} of {path}", "file")


def pieces_of(path: str) -> Iterator[bytes]:
    try:
        from_stdin: Any = nullcontext(sys.stdin.buffer)
        with open(path, "rb") if path != "-" else from_stdin as file:
            while piece := file.read1(PIECE):  # comes back between two reads, where Ctrl-C is seen
                yield piece
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", field="file") from None


def _ended(session: Session, queue: "QueueAPI", submitted: "BatchSubmitted") -> "list[Task]":
    """All tasks of the batch, once the last has ended; shows a progress bar on a terminal."""
    last = submitted.task_ids[-1]
    try:
        if session.shows_progress:
            _show_bar(queue, submitted, last)
        return [queue.wait(task_id) for task_id in submitted.task_ids]
    except KeyboardInterrupt:
        raise Interrupted(submitted.task_ids) from None


def _show_bar(queue: "QueueAPI", submitted: "BatchSubmitted", last: str) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        shown = bar.add_task("", total=len(submitted.task_ids))
        while not (now := queue.get_batch(submitted.batch_id)).is_over:
            bar.update(shown, completed=now.total - now.pending - now.running)
            queue.get_task(last, wait=LOOK_S)


def _print_results(session: Session, tasks: "list[Task]") -> None:
    failed = 0
    items = []
    for task in tasks:
        done = task.status == "completed"
        failed += not done
        error = None if done else task.error or str(task.status)
        items.append(
            {"task_id": task.id, "status": task.status, "result": task.result, "error": error}
        )
        if not session.speaks_json:
            line = one_line(error) if error else output.answer_line(task)
            click.echo(f"{task.id}  {task.status}  {line}")
    if session.speaks_json:
        output.print_json(items)
    if failed:
        raise TaskNotCompleted(f"{failed} of {len(tasks)} tasks did not complete")
