"""`watch`: what it knows, how it looks, and how it goes in a terminal."""

import io
import os
import pty
import select
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
from rich.console import Console

from ollama_queue import Status, Task, TaskType, generate_task
from ollama_queue.actors.core.model.stats import BackendState, QueueStats
from ollama_queue.cli.commands.board import Board, Meter
from ollama_queue.cli.commands.dashboard import frame
from ollama_queue.cli.terminal.output import span
from tests.support.fakes.model_server import FakeOllama, Stream
from tests.support.harness.cli import CliHarness
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import ROOT

PATIENCE_S = 20
NOW = datetime.now(UTC)


@pytest.fixture
def house(tmp_path):
    with CliHarness(tmp_path) as house:
        yield house


def a_task(name="a", **fields):
    facts = {"created_at": NOW, "queued_at": NOW, "started_at": NOW, "max_retries": 3}
    facts |= {"model": "qwen3", "priority": 10, "status": Status.RUNNING, "title": "Why?"}
    return Task(id=name, type=TaskType.CHAT, **{**facts, **fields})


def some_stats(**fields):
    counts = dict.fromkeys(("completed", "failed", "cancelled", "total"), 0)
    facts = {f"{name}_tasks": count for name, count in counts.items()}
    facts |= {"pending_tasks": 5, "running_tasks": 1, "workers_active": 1, "workers_idle": 0}
    facts |= {"queues_by_priority": {"5": 3, "7": 2}, "waiting_for": {"slot": 4, "retry": 1}}
    facts |= {"unserved": [], "scheduled": 0, "oldest_wait_s": None, "throughput": 0.0}
    facts |= {"paused": False, "backends": [], "uptime_s": 3700.0, "version": "1"}
    return QueueStats(**{**facts, **fields})


def drawn(board, now=0.0, width=140, height=40):
    console = Console(file=io.StringIO(), width=width)
    console.print(frame(board, now, width, height))
    return console.file.getvalue()


# --- what it knows --------------------------------------------------------------------------------


def test_a_meter_counts_the_last_seconds():
    meter = Meter(0.0)
    assert meter.rate(1.0) is None
    for tenth in range(100):
        meter.note(1.0 + tenth / 10)

    assert meter.total == 100
    assert meter.rate(11.0) == pytest.approx(10, rel=0.05)
    assert meter.rate(20.0) == 0


def test_what_was_said_before_is_no_speed():
    meter = Meter(0.0)
    for _ in range(500):
        meter.note(0.1)

    assert (meter.total, meter.rate(2.0)) == (500, 0)


def test_ends_are_counted_for_a_minute():
    board = Board("x", 0.0)
    for second in range(90):
        board.ended("task_failed" if second % 10 == 0 else "task_completed", float(second))

    assert board.last_minute(89.5) == {"completed": 54, "failed": 6}
    assert (board.watched_s(30.0), board.watched_s(90.0)) == (30.0, 60.0)


def test_an_outage_is_said_while_it_lasts_and_afterwards():
    board = Board("x", 0.0)
    board.saw(some_stats(), [], 1.0)
    assert board.warning(2.0) is None
    assert board.warning(6.0) == "no answer for 5 s"
    board.lost("no queue answers")
    assert board.warning(6.0) == "no queue answers; trying again, for 5 s now"
    board.saw(some_stats(), [], 13.0)

    assert board.warning(13.0) is None
    assert board.news(14.0) == "the queue is back after 12 s"
    assert board.news(30.0) is None


def test_a_restart_that_nobody_missed_is_said():
    board = Board("x", 0.0)
    board.saw(some_stats(), [], 1.0)
    board.saw(some_stats(uptime_s=1.0), [], 2.0)

    assert board.news(2.0) == "the queue has restarted"


def test_a_task_that_has_ended_has_no_meter_any_more():
    board = Board("x", 0.0)
    board.meters = {"a": Meter(0.0), "b": Meter(0.0)}
    board.saw(some_stats(), [a_task("a")], 1.0)

    assert set(board.meters) == {"a"}


# --- how it looks ---------------------------------------------------------------------------------


def test_a_frame_says_it_all():
    board = Board("http://host:7125", 0.0)
    gpu = BackendState(
        name="gpu1", type="ollama", healthy=True, running=1, parallel=2, calls=7, failures=3,
        tokens_per_s=41.25, loaded=["qwen3:latest"],
    )  # fmt: skip
    away = BackendState(
        name="far", type="openai", healthy=False, running=0, parallel=4, error="refused"
    )
    board.saw(some_stats(backends=[gpu, away], paused=True, read_only="full"), [a_task()], 0.0)
    board.meters["a"] = meter = Meter(0.0)
    for tenth in range(100):
        meter.note(tenth / 10)
    board.ended("task_completed", 5.0)

    text = drawn(board, 10.0)

    for words in (
        "http://host:7125", "up 1 h 1 m", "PAUSED", "READ-ONLY: full",
        "5 pending", "1 running", "6 ended a minute",
        "retry", "normal 5", "gpu1", "41.2", "qwen3:latest", "1/2", "away", "refused",
        "Why?", "100", "9.8", "no answer for 10 s",
    ):  # fmt: skip
        assert words in text, words


def test_words_of_others_do_nothing_to_the_terminal():
    board = Board("x", 0.0)
    title = "[red]\x1b[2J\nline" * 20
    board.saw(some_stats(), [a_task(title=title, model="a\x1b]0;b")], 0.0)
    text = drawn(board)

    assert "\x1b" not in text
    assert "[red]" in text
    assert len(text.splitlines()) < 40


@pytest.mark.parametrize("width", [60, 80, 110, 200])
def test_a_frame_has_room(width):
    board = Board("x", 0.0)
    tasks = [a_task("01a210be-d711-7aed-a2d5-303497aa9419", title="long " * 30)] * 40
    board.saw(some_stats(), tasks, 0.0)
    lines = drawn(board, width=width, height=30).splitlines()

    assert max(map(len, lines)) <= width
    assert len(lines) <= 30
    assert "and 30 more" in "\n".join(lines)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 m 0 s"), (3661, "1 h 1 m"), (90_000, "1 d 1 h")],
)
def test_a_span_has_two_units(seconds, words):
    assert span(seconds) == words


# --- the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [("watch",), ("watch", "--once")])
def test_without_a_terminal_it_prints_one_frame(house, args):
    house.ended("tell me")
    text = house.ok(*args)

    assert "1 completed" in text
    assert "q ends this" not in text


def test_with_json_it_is_one_document(house):
    house.queue.pause()
    house.submitted()
    shown = house.json("watch")

    assert (shown["stats"]["pending_tasks"], shown["running"]) == (1, [])


class Terminal:
    """`ollama-queue watch` in a terminal of its own."""

    def __init__(self, server):
        self.fd, theirs = pty.openpty()
        command = [sys.executable, "-m", "ollama_queue.cli.start", "watch"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "160"}
        environment |= {"LINES": "50", "OLLAMA_QUEUE_SERVER": server.base_url}
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.text = ""

    def until(self, words):
        """Read on until this is shown."""
        self.text = self.text[-1:]
        deadline = time.monotonic() + PATIENCE_S
        while words not in self.text:
            ready, _, _ = select.select([self.fd], [], [], deadline - time.monotonic())
            assert ready, self.text[-3000:]
            self.text += os.read(self.fd, 65536).decode(errors="replace")

    def press(self, key):
        os.write(self.fd, key.encode())

    def end(self):
        """The exit code; reads on, so that nobody waits for room."""
        try:
            while select.select([self.fd], [], [], PATIENCE_S)[0]:
                self.text += os.read(self.fd, 65536).decode(errors="replace")
        except OSError:
            pass  # the other end is closed
        os.close(self.fd)
        return self.process.wait(PATIENCE_S)


def test_it_goes_on_over_a_restart_until_q_is_pressed(tmp_path):
    model = FakeOllama(Stream(then="hang"))
    with model, QueueServer(tmp_path, model.url) as server:
        with server.client() as client:
            client.submit_task(generate_task("m", "the first of all"))
        terminal = Terminal(server)
        terminal.until("the first of all")
        terminal.until("q ends this")
        server.kill()
        terminal.until("trying again, for")
        server.start()
        terminal.until("the queue is back after")
        terminal.until("the first of all")
        terminal.press("xQ")

        assert terminal.end() == 0
        assert "\x1b[?1049l" in terminal.text  # the screen as it was before


def test_ctrl_c_ends_it_well(tmp_path):
    with FakeOllama() as model, QueueServer(tmp_path, model.url) as server:
        terminal = Terminal(server)
        terminal.until("0 running")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
