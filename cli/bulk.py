"""What is done to many tasks: the options that choose them, a question first, counts at the end."""

import sys
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ollama_queue.cli import output
from ollama_queue.cli.filter_options import chosen, filtering
from ollama_queue.cli.session import Session, Tally, open_queue, session_of
from ollama_queue.cli.waiting import StatusLine

if TYPE_CHECKING:
    from ollama_queue.actors.api import QueueAPI
    from ollama_queue.actors.core.bulk import BulkError, BulkResult

F = TypeVar("F", bound=Callable[..., Any])


def choosing(command: F) -> F:
    """The options that choose tasks in the place of ids; `Chosen` reads them."""
    yes = click.option("--yes", is_flag=True, help="Do not ask first.")
    everything = click.option("--all", "is_all", is_flag=True, help="All that it can be done to.")
    return filtering(everything(yes(command)))


class Chosen:
    """Which tasks are meant: the ids given, or what the options say. Raises `UsageError`."""

    def __init__(self, ids: Collection[str], given: dict[str, Any]) -> None:
        self.ids, self.must_ask = ids, not given["yes"]
        self.filter = chosen(given)
        if ids and (self.filter or given["is_all"]):
            raise click.UsageError("name tasks by ID, or choose them by options, not both")
        if self.filter and given["is_all"]:
            raise click.UsageError("--all leaves nothing to choose: leave it or the others out")
        if not (ids or self.filter or given["is_all"]):
            raise click.UsageError(
                "Missing argument 'ID...', or options that choose tasks: --model, --tag, --all …"
            )


def sweep(
    ctx: click.Context, tasks: Chosen, verb: str, done: str, level: str | None = None
) -> None:
    """Do it to all tasks that are chosen by options, slice by slice, and print how many."""
    session, queue = session_of(ctx), open_queue(ctx)
    if tasks.must_ask and _is_terminal():
        _ask(queue, tasks, verb, level)
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


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _slice(queue: "QueueAPI", verb: str, filter: dict[str, Any], level: str | None) -> "BulkResult":
    if level is not None:
        return queue.reprioritize_tasks(filter=filter, priority=level)
    verbs = {
        "cancel": queue.cancel_tasks,
        "retry": queue.retry_tasks,
        "delete": queue.delete_tasks,
    }
    return verbs[verb](filter=filter)


def _ask(queue: "QueueAPI", tasks: Chosen, verb: str, level: str | None) -> None:
    """Ends the command when the answer is no."""
    from msgspec.structs import replace

    from ollama_queue.actors.core.bulk import Verb, narrowed
    from ollama_queue.actors.core.submission import parse_priority

    number = None if level is None else parse_priority(level)
    wanted = narrowed(Verb(verb), tasks.filter, number)
    if wanted is not None:
        count = queue.list_page(replace(wanted, limit=1)).total
        which = "all tasks that match" if count is None else f"{count} tasks"
        what = f"Give {which} priority {level}" if level else f"{verb.capitalize()} {which}"
        click.confirm(f"{what}?", abort=True, err=True)


def _report(
    ctx: click.Context, session: Session, total: int, done: str, errors: "list[BulkError]"
) -> None:
    from ollama_queue.http.wire import error_of

    if session.speaks_json:
        output.print_json({"done": total, "errors": errors})
    else:
        click.echo(f"{total} {done}")
    tally = Tally()
    for error in errors:
        tally.add(error_of(error.code, error.message))
    ctx.exit(tally.code)
