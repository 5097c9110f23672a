"""The standalone files do the main job on a machine that has no Python."""

import json
import os
import pty
import signal
import subprocess
import threading
from collections.abc import Callable

import httpx
import pytest
import websocket

from tests.support.fakes.behaviours import Stream
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.binaries import ANSWER_WITHIN_S, DIST, BinaryServer, Programs

NAMES = ("ollama-queue", "ollama-queue-server")


@pytest.mark.parametrize("name", NAMES)
def test_says_its_version_and_cleans_up(name: str, programs: Programs) -> None:
    done = programs.run(name, "--version")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(name)
    assert list(programs.home.iterdir()) == list(programs.temporary.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_helps(name: str, programs: Programs) -> None:
    done = programs.run(name, "--help")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: {name}")
    assert "Example:" in done.stdout


def test_the_command_line_has_nothing_of_the_server_in_it() -> None:
    small, large = ((DIST / name).stat().st_size for name in NAMES)

    assert small < 0.75 * large


def test_does_the_main_job(server: BinaryServer, programs: Programs) -> None:
    assert programs.submit("--wait") == "Hello from here"

    (row,) = programs.ask("list").splitlines()[1:]
    task_id, status = row.split()[:2]
    assert status == "completed"
    assert programs.task(task_id)["status"] == "completed"
    assert "completed" in programs.ask("status")
    assert [path.name for path in programs.home.iterdir()] == ["data"]


def test_has_the_page_in_it(server: BinaryServer) -> None:
    page = httpx.get(f"{server.base_url}/", headers={"Accept": "text/html"})
    script = httpx.get(f"{server.base_url}/static/views/tasks.js")

    assert "<title>Ollama Queue</title>" in page.text
    assert script.headers["Content-Type"].startswith("text/javascript")


def test_tells_events_over_a_websocket(server: BinaryServer) -> None:
    url = server.base_url.replace("http", "ws", 1)
    socket = websocket.create_connection(f"{url}/ws", timeout=ANSWER_WITHIN_S)

    first = json.loads(socket.recv())

    socket.close()
    assert first["type"] == "snapshot"


def test_lists_on_a_terminal(server: BinaryServer, programs: Programs) -> None:
    task_id = programs.submit()
    programs.ask("wait", task_id)
    ours, theirs = pty.openpty()
    command = programs.command("ollama-queue", "--server", server.base_url, "list")

    done = subprocess.run(command, stdout=theirs, stderr=theirs, timeout=ANSWER_WITHIN_S)

    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert done.returncode == 0, shown
    assert "STATUS" in shown
    assert task_id in shown


def test_after_a_kill_waiting_tasks_go_on(
    server: BinaryServer, programs: Programs, fake: FakeOllama
) -> None:
    fake.script(Stream(then="hang"))
    task_ids = [programs.submit() for _ in range(3)]
    fake.wait_for_calls(1)

    server.kill()
    server.start()

    programs.ask("wait", *task_ids)
    assert [programs.task(task_id)["attempt"] for task_id in task_ids] == [2, 1, 1]


@pytest.mark.parametrize("stop", [BinaryServer.terminate, BinaryServer.press_ctrl_c])
def test_a_signal_lets_the_running_task_finish(
    stop: Callable[[BinaryServer], None],
    server: BinaryServer,
    programs: Programs,
    fake: FakeOllama,
) -> None:
    gate = threading.Event()
    fake.script(Stream(gate=gate))
    task_id = programs.submit()
    fake.wait_for_calls(1)

    stop(server)
    gate.set()

    assert server.wait() == 0
    assert "stopping" in programs.log.read_text()
    assert list(programs.temporary.iterdir()) == []
    server.start()
    task = programs.task(task_id)
    assert (task["status"], task["attempt"]) == ("completed", 1)


def test_ctrl_c_ends_only_the_waiting(
    server: BinaryServer, programs: Programs, fake: FakeOllama
) -> None:
    fake.script(Stream(then="hang"))
    chat = ("submit", "chat", "--model", "m", "--messages", "user:Hello", "--wait")
    command = programs.command("ollama-queue", "--server", server.base_url, *chat)
    waiting = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    fake.wait_for_calls(1)

    os.killpg(waiting.pid, signal.SIGINT)

    _, talk = waiting.communicate(timeout=ANSWER_WITHIN_S)
    assert waiting.returncode == 130
    assert "Traceback" not in talk
    (row,) = programs.ask("list", "--status", "running").splitlines()[1:]
    programs.ask("cancel", row.split()[0])
