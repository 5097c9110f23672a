"""Output of commands: JSON for programs; lines, tables and replies for people."""

import math
import sys
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import click

from ...actors.core.model.errors import Conflict
from ...actors.core.text.escaping import visible
from .reply_text import words
from .session import Session, TaskNotCompleted, one_line

if TYPE_CHECKING:
    from ...actors.core.model.crons import TaskTemplate
    from ...actors.core.model.stats import BackendState, QueueStats
    from ...actors.core.model.tasks import Submitted, Task

COLOURS = {
    "pending": "yellow",
    "running": "cyan",
    "completed": "green",
    "failed": "red",
    "cancelled": "magenta",
}
COLUMNS = ("ID", "STATUS", "PRIO", "TYPE", "MODEL", "CREATED", "STARTS", "TITLE")
DROPPED_FIRST = ("TYPE", "CREATED", "MODEL", "STARTS")  # on a terminal too narrow for all
UNITS = ((1, "s", 59.5), (60, "min", 59.5), (3600, "h", 47.5), (86400, "days", math.inf))
GAP = 2
TITLE_WIDTH = 16  # at least, where there are columns to drop


def print_json(value: Any) -> None:
    """Print one JSON document, indented on a terminal."""
    import msgspec

    text = msgspec.json.encode(value)
    if sys.stdout.isatty():
        text = msgspec.json.format(text, indent=2)
    click.echo(visible(text.decode(), keep="\n"))  # the same document, as JSON escapes it


def print_json_line(value: Any) -> None:
    """Print one of many JSON documents on a line of its own."""
    import msgspec

    click.echo(visible(msgspec.json.encode(value).decode()))


def print_submitted(session: Session, submitted: "Submitted") -> None:
    """Print only the id on stdout, for scripts; the rest goes to stderr."""
    task_id = submitted.task_id
    if session.speaks_json:
        facts = {"status": submitted.status, "position": submitted.position}
        print_json({"task_id": task_id, **facts})
        return
    click.echo(task_id)
    if not submitted.created:
        follow = f"Follow: ollama-queue status {task_id}"
        session.say(f"Already submitted with this key: {submitted.status}. {follow}")
        return
    place = "" if submitted.position is None else f" ({ordinal(submitted.position + 1)})"
    done = f"Queued{place}" if submitted.status == "pending" else "Running"
    session.say(f"{done}. Follow: ollama-queue stream {task_id}")


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ending}"


class RecordPrinter:
    """Prints the outcome for each named record.

    A line each, at once; or one JSON document at the end, an array if several were named. Use it as
    a context manager.
    """

    def __init__(self, session: Session, named: Collection[str]) -> None:
        self._session, self._are_many = session, len(named) > 1
        self._done: list[Any] = []

    def add(self, record: Any, line: str) -> None:
        if self._session.speaks_json:
            self._done.append(record)
        else:
            click.echo(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._session.speaks_json and self._are_many:
            print_json(self._done)
        elif self._done:
            print_json(self._done[0])


def task_line(task: "Task", *more: str) -> str:
    """A task that something was done to."""
    return "  ".join((one_line(task.id), _coloured(task.status), *more))


def print_line(session: Session, task: "Task", *more: str) -> None:
    """A task that something was done to."""
    if session.speaks_json:
        print_json(task)
    else:
        click.echo(task_line(task, *more))


def say_more(session: Session, cursor: str | None, shown: str = "") -> None:
    """Say how to continue a list whose page ended at `cursor`."""
    if cursor is not None:
        session.say(f"{shown}for more, repeat this with --cursor {cursor}")


def print_tasks(session: Session, tasks: "Sequence[Task]") -> None:
    if session.speaks_json:
        print_json(tasks)
        return
    if not tasks:
        session.say("No tasks.")
        return
    rows = [_row(task) for task in tasks]
    if sys.stdout.isatty():
        _print_table([tuple(map(one_line, row)) for row in rows])
    else:
        print_plain([COLUMNS, *rows])


def print_task(session: Session, task: "Task") -> None:
    if session.speaks_json:
        print_json(task)
        return
    reason = f" ({task.waiting_for})" if task.waiting_for else ""
    facts: dict[str, Any] = {
        "id": task.id,
        "status": _coloured(task.status) + reason,
        "position": task.position,
        "starts": starts_in(task),
        "type": task.type,
        "model": task.model,
        "model used": task.model_used if task.model_used != task.model else None,
        **wishes(task),
        "title": task.title,
        "created": time_of(task.created_at),
        "scheduled": time_of(task.scheduled_at),
        "deadline": time_of(task.deadline),
        "started": time_of(task.started_at),
        "ended": time_of(task.completed_at),
        "next attempt": time_of(task.next_attempt_at),
        "attempts": task.attempt,
        "retries": f"{task.retry_count} of {task.max_retries}",
        "ran on": task.executed_on,
        "error": task.error,
    }
    print_facts(facts)
    if task.waiting_for == "backend":
        session.say("No model server can take it now. See: ollama-queue backends")


def wishes(task: "Task | TaskTemplate") -> dict[str, Any]:
    """The facts of a task that whoever submits it decides, but what is asked."""
    return {
        "fallbacks": None if task.fallback_models is None else ", ".join(task.fallback_models),
        "priority": task.priority,
        "time limit": None if task.timeout_s is None else f"{task.timeout_s:g} s",
        "start within": None if task.start_within is None else f"{task.start_within:g} s",
        "backend": task.backend or ("a remote one" if task.remote_execution else None),
        "tags": ", ".join(task.tags),
        "callback": task.callback_url,
    }


def print_stats(session: Session, stats: "QueueStats") -> None:
    if session.speaks_json:
        print_json(stats)
        return
    waits = [f"{count} for {reason}" for reason, count in stats.waiting_for.items() if count]
    unserved = [f"{each.model} ({each.tasks}): {each.reason}" for each in stats.unserved]
    facts: dict[str, Any] = {
        "pending": stats.pending_tasks,
        "running": stats.running_tasks,
        "completed": stats.completed_tasks,
        "failed": stats.failed_tasks,
        "cancelled": stats.cancelled_tasks,
        "total": stats.total_tasks,
        "waiting": ", ".join(waits),
        "no backend for": "; ".join(unserved),
        "scheduled": stats.scheduled or None,
        "longest wait": None if stats.oldest_wait_s is None else f"{stats.oldest_wait_s:.1f} s",
        "throughput": f"{stats.throughput:.2f} tasks a second",
        "workers": f"{stats.workers_active} active, {stats.workers_idle} idle",
        "paused": "yes" if stats.paused else "no",
        "read-only": stats.read_only,
    }
    for backend in stats.backends:
        parts = [f"{backend.running} of {backend.parallel} running", health(backend)]
        why = "" if backend.healthy else f": {backend.error}"
        facts[f"backend {backend.name}"] = ", ".join(parts) + why
    if stats.hub_gap_ms is not None:
        facts["longest gap"] = f"{stats.hub_gap_ms:.0f} ms without an answer, in the last minute"
    facts["up"] = f"{span(stats.uptime_s)}, version {stats.version}"
    print_facts(facts)


def span(seconds: float) -> str:
    """A duration in its two largest units: `1 h 5 m`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    first = next((index for index, (count, _) in enumerate(units) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2])


def starts_in(task: "Task") -> str:
    """The estimate until a waiting task starts; empty if unknown."""
    if task.eta_s is None:
        return ""
    if task.eta_s < 1:
        return "any moment"
    counts = ((task.eta_s / size, unit, most) for size, unit, most in UNITS)
    return next(f"about {count:.0f} {unit}" for count, unit, most in counts if count < most)


def health(backend: "BackendState") -> str:
    """The health of a backend in one word."""
    if backend.resting_s is not None:
        return f"resting {math.ceil(backend.resting_s)} s"
    if backend.drained:
        return "drained"
    return "healthy" if backend.healthy else "away"


def check_ended(task: "Task") -> None:
    """Raises `Conflict` for a task that waits or runs."""
    if not task.status.is_final:
        raise Conflict(
            f"task {task.id} has not ended, it is {task.status}: ollama-queue wait {task.id}"
        )


def check_completed(task: "Task") -> None:
    """Raises `TaskNotCompleted` for a task that has ended otherwise."""
    if task.status == "cancelled":
        raise TaskNotCompleted(f"task {task.id} was cancelled")
    if task.status != "completed":
        raise TaskNotCompleted(f"task {task.id} failed: {task.error}")


def print_answer(task: "Task") -> None:
    """The reply's text; for embeddings a summary."""
    text = words(task.result)
    if sys.stdout.isatty():
        text = visible(text, keep="\n\t")
    click.echo(text, nl=not text.endswith("\n"), color=True)  # else a pipe gets less than was said


def answer_line(task: "Task") -> str:
    """The beginning of a completed task's reply, on one line."""
    return one_line(words(task.result))[:120]


def _row(task: "Task") -> tuple[str, ...]:
    created = time_of(task.created_at)
    return (
        task.id,
        str(task.status),
        str(task.priority),
        str(task.type),
        task.model,
        created,
        starts_in(task),
        task.title,
    )


def print_plain(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns. Cells may contain any text from users."""
    rows = [[*map(one_line, row)] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    click.echo("\n".join(lines))


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    widths = fitting(rows, console.width)
    console.width = max(console.width, sum(widths.values()) + GAP * len(widths))
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for name, width in widths.items():
        table.add_column(name, no_wrap=True, overflow="ellipsis", width=width)
    for row in rows:
        cells = dict(zip(COLUMNS, row, strict=True))
        style = COLOURS[cells["STATUS"]]
        table.add_row(*(Text(cells[n], style if n == "STATUS" else "") for n in widths))
    console.print(table)


def fitting(rows: Sequence[Sequence[str]], width: int) -> dict[str, int]:
    """The columns that fit into `width` with their widths; the title gets the rest."""
    widths = {
        name: max(len(name), *(len(row[index]) for row in rows))
        for index, name in enumerate(COLUMNS[:-1])
    }

    if not any(row[COLUMNS.index("STARTS")] for row in rows):
        del widths["STARTS"]  # nothing waits, or nobody knows

    def left() -> int:
        return width - sum(widths.values()) - GAP * (len(widths) + 1)

    for name in DROPPED_FIRST:
        if left() < TITLE_WIDTH:
            widths.pop(name, None)
    return {**widths, "TITLE": max(left(), len("TITLE"))}


def print_facts(facts: dict[str, Any]) -> None:
    """Print a line for each fact that has a value."""
    shown = {one_line(name): value for name, value in facts.items() if value not in (None, "")}
    width = max(map(len, shown)) + 2
    for name, value in shown.items():
        click.echo(f"{name + ':':<{width}}{one_line(value) if name != 'status' else value}")


def _coloured(status: str) -> str:
    return click.style(status, fg=COLOURS[status])  # echo drops it where there is no terminal


def time_of(value: datetime | None) -> str:
    return "" if value is None else f"{value:%Y-%m-%dT%H:%M:%SZ}"
