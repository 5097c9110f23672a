"""`watch`: the live dashboard."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from ...actors.core.model.errors import QueueError
from ...actors.core.model.event_names import ENDS
from ..terminal import output
from ..terminal.session import open_queue, session_of, shared
from ..terminal.waiting import Interrupted
from .board import Board, Meter

if TYPE_CHECKING:
    from ...actors.api.queue_api import QueueAPI
    from ...actors.core.model.tasks import Task

DRAW_S = 0.25
LOOK_S = 0.5
COME_AGAIN_S = 1.0
MOST_TASKS = 50  # shown
MOST_STREAMS = 12  # followed, to tell how fast they go
HINT = "q ends this; the queue goes on"


@click.command()
@click.option("--once", is_flag=True, help="Print the current state and exit.")
@shared
@click.pass_context
def watch(ctx: click.Context, once: bool) -> None:
    """Live dashboard: counts, waiting and running tasks, backends. Press q to quit.

    Reconnects after a restart of the server. If the output is not a terminal, prints the current
    state once, as with --once; with --output json, as one document.

    \b
    Example:
      ollama-queue watch --once
    """
    session, queue = session_of(ctx), open_queue(ctx)
    board = Board(session.server, time.monotonic())
    look(queue, board)
    if session.speaks_json:
        output.print_json({"stats": board.stats, "running": board.running})
    elif once or not sys.stdout.isatty():
        _print(board)
    else:
        try:
            _show(queue, board)
        except KeyboardInterrupt:
            ctx.exit(Interrupted.exit_code)


def look(queue: "QueueAPI", board: Board) -> None:
    """Show the current state on the board. Raises `QueueError`."""
    from ...actors.core.model.task_filter import TaskFilter
    from ...actors.core.model.tasks import Status

    running = queue.list_tasks(TaskFilter(status=[Status.RUNNING], limit=MOST_TASKS))
    board.saw(queue.get_queue_stats(), running, time.monotonic())


def _print(board: Board) -> None:
    from rich.console import Console

    from .dashboard import frame

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160  # a file has room
    console.print(frame(board, time.monotonic(), console.width, MOST_TASKS + 40))


def _show(queue: "QueueAPI", board: Board) -> None:
    """Draw until q or Ctrl-C."""
    from rich.console import Console
    from rich.live import Live

    from .dashboard import frame

    console = Console(highlight=False)
    with (
        BoardUpdater(queue, board),
        Live(console=console, screen=True, auto_refresh=False) as live,
        pressed_keys() as keys_within,
    ):
        keys = ""
        while "q" not in keys:
            width, height = console.size
            live.update(frame(board, time.monotonic(), width, height, HINT), refresh=True)
            keys = keys_within(DRAW_S)


@contextmanager
def pressed_keys() -> Iterator[Callable[[float], str]]:
    """A function that waits some seconds for keys and returns them, without Enter."""
    import select
    import termios
    import tty

    if not sys.stdin.isatty():
        yield _no_keys
        return
    terminal = sys.stdin.fileno()

    def keys_within(seconds: float) -> str:
        if not select.select([terminal], [], [], seconds)[0]:
            return ""
        return os.read(terminal, 100).decode(errors="replace").lower() or "q"  # it is gone

    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    try:
        yield keys_within
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _no_keys(seconds: float) -> str:
    time.sleep(seconds)
    return ""


class BoardUpdater:
    """The threads that keep a board up to date while the block lasts.

    One polls the stats, one hears of ended tasks, and one per running task counts its chunks.
    """

    def __init__(self, queue: "QueueAPI", board: Board) -> None:
        self._queue, self._board = queue, board
        self._over = threading.Event()
        self._subscription: Any = None

    def __enter__(self) -> None:
        self._start(self._look)
        self._start(self._listen)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._subscription is not None:
            self._subscription.close()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        threading.Thread(target=target, args=args, daemon=True).start()

    def _look(self) -> None:
        while not self._over.is_set():
            try:
                look(self._queue, self._board)
                self._follow(self._board.running[:MOST_STREAMS])
            except QueueError as error:
                self._board.lost(error.message)
            self._over.wait(LOOK_S)

    def _listen(self) -> None:
        while not self._over.is_set():
            with suppress(QueueError):
                self._subscription = self._queue.subscribe(ENDS)
                for event in self._subscription:
                    self._board.ended(event.event, time.monotonic())
            self._over.wait(COME_AGAIN_S)

    def _follow(self, tasks: "Sequence[Task]") -> None:
        for task in tasks:
            if task.id not in self._board.meters:
                meter = self._board.meters[task.id] = Meter(time.monotonic())
                self._start(self._count, task.id, meter)

    def _count(self, task_id: str, meter: Meter) -> None:
        with suppress(QueueError):
            for chunk in self._queue.stream_task(task_id):
                if self._over.is_set():
                    return
                if chunk.data is not None:
                    meter.note(time.monotonic())


COMMANDS: tuple[Any, ...] = (watch,)
