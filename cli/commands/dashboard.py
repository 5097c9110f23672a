"""Draws one frame of `watch`. Imported by that command only: rich takes long to load."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..terminal.output import COLOURS, health, span
from ..terminal.session import one_line
from .backends import rate
from .board import Board

if TYPE_CHECKING:
    from ...actors.core.model.stats import BackendState, QueueStats
    from ...actors.core.model.tasks import Task

LEVELS = {"15": "critical", "10": "high", "5": "normal", "1": "low"}
FRAME_LINES = 20  # without the rows of running tasks and of backends
FEWEST_ROWS = 3
NARROW = 110  # columns
RUNNING = ("RUNNING", "MODEL", ">PRIO", "ON", ">FOR", ">CHUNKS", ">CHUNKS/S", "TITLE")
DROPPED = (">PRIO", "ON", ">CHUNKS")  # where there is no room for all


def frame(board: Board, now: float, width: int, height: int, hint: str = "") -> RenderableType:
    """The frame at `now` (monotonic seconds), fitted to the columns and lines of the terminal."""
    stats = board.stats
    if stats is None:
        return Text(f"Waiting for the queue at {board.server}")
    rows = max(height - FRAME_LINES - len(stats.backends), FEWEST_ROWS)
    return Group(
        _head(board, stats, now),
        _counts(stats),
        _pace(board, now),
        Text(),
        Columns([_reasons(stats), _priorities(stats)], padding=(0, 6)),
        Text(),
        _backends(stats.backends),
        Text(),
        _running(board, now, rows, is_narrow=width < NARROW),
        Text(hint, style="dim"),
    )


def _head(board: Board, stats: "QueueStats", now: float) -> Text:
    head = Text.assemble(
        ("Ollama Queue ", "bold"), one_line(stats.version), f"  {one_line(board.server)}"
    )
    head.append(f"  up {span(stats.uptime_s)}")
    if stats.paused:
        head.append("  PAUSED", style="bold yellow")
    if stats.read_only is not None:
        head.append(f"  READ-ONLY: {one_line(stats.read_only)}", style="bold red")
    if warning := board.warning(now):
        head.append(f"\n{one_line(warning)}", style="bold red")
    elif news := board.news(now):
        head.append(f"\n{news}", style="green")
    return head


def _counts(stats: "QueueStats") -> Text:
    counts = {name: getattr(stats, f"{name}_tasks") for name in COLOURS}
    return _line((f"{count} {name}", COLOURS[name]) for name, count in counts.items())


def _pace(board: Board, now: float) -> Text:
    ends, seconds = board.last_minute(now), board.watched_s(now)
    if seconds < 1.0:
        return Text()  # too early to say
    over = "in the last minute" if seconds >= 60 else f"in {seconds:.0f} s"
    parts = [(f"{ends[name]} {name}", COLOURS[name]) for name in COLOURS if ends[name]]
    pace = f"{ends.total() * 60 / seconds:.0f} ended a minute"
    return Text.assemble(f"{pace} ({over}: ", _line(parts or [("none", "")]), ")")


def _reasons(stats: "QueueStats") -> Table:
    return _pairs("WAITING FOR", sorted(stats.waiting_for.items()))


def _priorities(stats: "QueueStats") -> Table:
    levels = sorted(stats.queues_by_priority.items(), key=lambda level: -int(level[0]))
    named = [(f"{LEVELS.get(level, '')} {level}".strip(), count) for level, count in levels]
    return _pairs("PRIORITY", named)


def _pairs(title: str, pairs: "Iterable[tuple[str, int]]") -> Table:
    table = _table(title, ">TASKS")
    for name, count in pairs:
        table.add_row(name, str(count), style="" if count else "dim")
    return table


def _backends(backends: "list[BackendState]") -> Table:
    table = _table(
        "BACKEND", "TYPE", "HEALTH", ">RUNNING", ">CALLS", ">FAILED", ">TOKENS/S", "LOADED"
    )
    for each in backends:
        word = health(each)
        table.add_row(
            one_line(each.name),
            one_line(each.type),
            Text(word, "green" if word == "healthy" else "bold red"),
            f"{each.running}/{each.parallel}",
            str(each.calls),
            str(each.failures),
            rate(each.tokens_per_s),
            _cut(each.error or ", ".join(each.loaded)),
        )
    return table


def _running(board: Board, now: float, rows: int, *, is_narrow: bool) -> Table:
    names = [name for name in RUNNING if not (is_narrow and name in DROPPED)]
    table = _table(*names)
    for task in board.running[:rows]:
        meter = board.meters.get(task.id)
        cells: dict[str, str | Text] = {
            "RUNNING": task.id,
            "MODEL": one_line(task.model),
            ">PRIO": str(task.priority),
            "ON": one_line(task.executed_on or ""),
            ">FOR": _age(task),
            ">CHUNKS": "-" if meter is None else str(meter.total),
            ">CHUNKS/S": rate(None if meter is None else meter.rate(now)),
            "TITLE": _cut(task.title),
        }
        table.add_row(*(cells[name] for name in names))
    left = len(board.running) - rows
    if left > 0:
        table.add_row(Text(f"and {left} more", style="dim"))
    return table


def _cut(text: str) -> Text:
    """Text on one line, whatever the width."""
    return Text(one_line(text), no_wrap=True, overflow="ellipsis")


def _table(*columns: str) -> Table:
    """A table; `>` before a name right-aligns its column. Only the last column shrinks."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for name in columns:
        side: Literal["left", "right"] = "right" if name[0] == ">" else "left"
        table.add_column(
            Text(name.removeprefix(">")), justify=side, no_wrap=name is not columns[-1]
        )
    return table


def _line(parts: Iterable[tuple[str, str]]) -> Text:
    return Text("  ").join(Text(word, style) for word, style in parts)


def _age(task: "Task") -> str:
    if task.started_at is None:
        return "-"
    return span(max(0.0, (datetime.now(UTC) - task.started_at).total_seconds()))
