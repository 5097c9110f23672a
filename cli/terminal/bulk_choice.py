"""Commands on many tasks: options that select them, a confirmation, counts at the end."""

import select
import sys
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ...actors.core.model.errors import Conflict
from . import output
from .filter_options import chosen, filtering, flag
from .session import ErrorTally, Session, open_queue, session_of
from .waiting import StatusLine

if TYPE_CHECKING:
    from ...actors.api.queue_api import QueueAPI
    from ...actors.core.intake.bulk import BulkError, BulkResult

F = TypeVar("F", bound=Callable[..., Any])

SIGNAL_CHECK_S = 0.5  # a Ctrl-C at the question is noticed within


def choosing(command: F) -> F:
    """Add the options that select tasks instead of ids; `BulkSelection` reads them."""
    yes = click.option(
        "--yes", is_flag=True, help="Do not ask for confirmation. Required in scripts."
    )
    dry = click.option("--dry-run", "is_dry", is_flag=True, help="Only count the tasks.")
    everything = click.option("--all", "is_all", is_flag=True, help="Every eligible task.")
    return filtering(everything(dry(yes(command))))


class BulkSelection:
    """The tasks selected: by ids or by options. Raises `UsageError`."""

    def __init__(self, ids: Collection[str], options: dict[str, Any]) -> None:
        self.ids, self.is_sure, self.is_dry = ids, options["yes"], options["is_dry"]
        self.filter = chosen(options)
        if ids and (self.filter or options["is_all"]):
            raise click.UsageError("name tasks by ID, or choose them by options, not both")
        if self.filter and options["is_all"]:
            raise click.UsageError("--all cannot be combined with options that select tasks")
        if not (ids or self.filter or options["is_all"]):
            raise click.UsageError(
                "Missing argument 'ID...', or options that choose tasks: --model, --tag, --all …"
            )
        for name, value in self.filter.items():
            if "" in (value, *value):  # of a script's unset variable: it would choose all
                raise click.UsageError(f"{flag(name)} must not be empty")


def sweep(
    ctx: click.Context, tasks: BulkSelection, verb: str, done: str, level: str | None = None
) -> None:
    """Apply the verb to all selected tasks, slice by slice, and print the count."""
    session, queue = session_of(ctx), open_queue(ctx)
    if tasks.is_dry or not tasks.is_sure:
        count = _count(session, queue, verb, tasks.filter, level)
        if tasks.is_dry:
            _print_count(session, count, verb, level)
            return
        _ask(ctx, count, verb, level)
    total, errors = 0, []
    line, cursor = StatusLine(session.shows_progress), None
    while True:
        result = _slice(queue, verb, {**tasks.filter, "cursor": cursor}, level)
        total, cursor = total + result.done, result.cursor
        errors += result.errors
        if cursor is None:
            break
        left = "" if result.left is None else f", {result.left} left"
        line.show(f"{total} {done}{left}")
    line.clear()
    _report(ctx, session, total, done, errors)


def rehearse(ctx: click.Context, tasks: BulkSelection, verb: str, level: str | None = None) -> None:
    """Print how many of the named tasks the verb would apply to, and why not to the others."""
    from ...actors.core.intake.bulk import MEANT_FOR, Verb
    from ...actors.core.intake.submission import parse_priority

    queue, tally, count = open_queue(ctx), ErrorTally(), 0
    if level is not None:
        parse_priority(level)
    for task_id in dict.fromkeys(tasks.ids):
        with tally:
            task = queue.get_task(task_id)
            if task.status not in MEANT_FOR[Verb(verb)]:
                raise Conflict(f"task {task_id} is {task.status}: it would be left as it is")
            count += 1
    _print_count(session_of(ctx), count, verb, level)
    ctx.exit(tally.code)


def _count(
    session: Session, queue: "QueueAPI", verb: str, filter: dict[str, Any], level: str | None
) -> int:
    """How many tasks are selected. Without an index, tasks are read to count them."""
    from msgspec.structs import replace

    from ...actors.core.intake.bulk import Verb, narrowed
    from ...actors.core.intake.submission import parse_priority
    from ...actors.core.model.task_filter import MAX_LIMIT

    task_filter = narrowed(Verb(verb), filter, None if level is None else parse_priority(level))
    if task_filter is None:
        return 0
    page = queue.list_page(replace(task_filter, limit=1))
    if page.total is not None:
        return page.total
    line, count = StatusLine(session.shows_progress), 0
    task_filter = replace(task_filter, limit=MAX_LIMIT)
    while True:
        page = queue.list_page(task_filter)
        count += len(page.tasks)
        if page.cursor is None:
            break
        line.show(f"counting: {_phrase(count, verb, level)} so far")
        task_filter = replace(task_filter, cursor=page.cursor)
    line.clear()
    return count


def _phrase(count: int, verb: str, level: str | None) -> str:
    tasks = f"{count} task{'' if count == 1 else 's'}"
    if level is not None:
        return f"give {tasks} priority {level}"
    results = {0: "", 1: " and its result"}.get(count, " and their results")
    return f"{verb} {tasks}{results if verb == 'delete' else ''}"


def _print_count(session: Session, count: int, verb: str, level: str | None) -> None:
    if session.speaks_json:
        output.print_json({"dry_run": True, "count": count})
    else:
        click.echo(f"Would {_phrase(count, verb, level)}")


def _ask(ctx: click.Context, count: int, verb: str, level: str | None) -> None:
    """End the command if the answer is no, or if nobody can answer."""
    what = _phrase(count, verb, level)
    if not _is_terminal():
        raise click.UsageError(f"this would {what}: add --yes to do it", ctx)
    if count:
        warning = " This cannot be undone." if verb == "delete" else ""
        _confirm(f"{what[0].upper()}{what[1:]}?{warning}")


def _confirm(question: str) -> None:
    """Ask on stderr. Raises `click.Abort` for a no."""
    while True:
        click.echo(f"{question} [y/N]: ", nl=False, err=True)
        answer = _typed_line().strip().lower()
        if answer in ("y", "yes"):
            return
        if answer in ("", "n", "no"):
            raise click.Abort
        click.echo("Error: answer y or n", err=True)


def _typed_line() -> str:
    """The next line of the terminal.

    A Ctrl-C in the moment before a read goes unnoticed until the read ends, so only what is there
    already is read.
    """
    while not select.select([sys.stdin], [], [], SIGNAL_CHECK_S)[0]:
        pass
    return sys.stdin.readline()


def _is_terminal() -> bool:
    """Whether a person can see the question on stderr and answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _slice(queue: "QueueAPI", verb: str, filter: dict[str, Any], level: str | None) -> "BulkResult":
    if level is not None:
        return queue.reprioritize_tasks(filter=filter, priority=level)
    verbs = {
        "cancel": queue.cancel_tasks,
        "retry": queue.retry_tasks,
        "delete": queue.delete_tasks,
    }
    return verbs[verb](filter=filter)


def _report(
    ctx: click.Context, session: Session, total: int, done: str, errors: "list[BulkError]"
) -> None:
    from ...http.wire import error_of

    if session.speaks_json:
        output.print_json({"done": total, "errors": errors})
    else:
        click.echo(f"{total} {done}")
    tally = ErrorTally()
    for error in errors:
        tally.add(error_of(error.code, error.message))
    ctx.exit(tally.code)
