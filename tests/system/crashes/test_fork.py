"""After a fork the queue stays with the parent: its threads and locks do not come along."""

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from ollama_queue import Client, QueueManager, Status, Unavailable
from tests.support.blocking_client import AppServer
from tests.support.harness.doors import VERBS, EmbeddedDoor, ask
from tests.support.servers.real_models import ROOT

PATIENCE_S = 60


def in_child(act: Callable[[], Any]) -> str:
    """What `act` says in a forked child."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE_S)  # ends it, if a verb waits for threads that are not there
        try:
            text = str(act())
        except BaseException:
            text = traceback.format_exc()
        os.write(into, text.encode())
        os._exit(0)  # the child of a test must not run pytest's end
    os.close(into)
    with os.fdopen(out) as reading:
        text = reading.read()
    os.waitpid(child, 0)
    return text


def test_in_a_child_every_verb_is_refused_and_the_parent_goes_on(tmp_path: Path) -> None:
    door = EmbeddedDoor("QueueManager", tmp_path)
    queue = door.manager
    before = queue.submit_task(ask())
    verbs: list[Callable[[Any], Any]] = [
        *VERBS,
        lambda queue: queue.stream_task(before),
        lambda queue: queue.subscribe(),
        lambda queue: queue.start(),
    ]

    def use_all() -> set[str]:
        answers = set()
        for verb in verbs:
            try:
                answers.add(f"answered {verb(queue)}")
            except Unavailable as error:
                answers.add(error.message)
        return answers

    said = in_child(use_all)

    words = f"this queue was opened in process {os.getpid()}; "
    assert said == str({words + "use Client here, or open it after the fork"})
    assert queue.wait(before, timeout=10).status is Status.COMPLETED
    assert door.run(ask()).status is Status.COMPLETED
    door.close()


def test_a_child_of_a_process_with_a_queue_cannot_open_another(tmp_path: Path) -> None:
    """RocksDB's threads are one set for all stores of a process, and a fork leaves them behind."""
    door = EmbeddedDoor("QueueManager", tmp_path / "parent")

    def open_another() -> str:
        try:
            QueueManager(storage_path=str(tmp_path / "child")).start()
        except Unavailable as error:
            return error.message
        return "opened"

    said = in_child(open_another)

    assert f"process {os.getpid()}, which this one was forked from, has opened a queue" in said
    door.close()


def test_a_child_that_was_forked_before_opens_a_queue_of_its_own(tmp_path: Path) -> None:
    program = f"""
import os
from ollama_queue import QueueManager, generate_task

child = os.fork() == 0
queue = QueueManager(storage_path={str(tmp_path)!r} + "/" + str(child), ollama_host="127.0.0.1:9")
with queue:
    queue.pause()
    queue.submit_task(generate_task("m", "hi"))
    os.write(1, b"%d " % queue.get_queue_stats().total_tasks)
if not child:
    os.wait()
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=ROOT, text=True, timeout=20
    )

    assert (ended.returncode, ended.stdout.split()) == (0, ["1", "1"]), ended.stderr


# --- a child's end -------------------------------------------------------------------------------

BEGIN = """
import atexit, logging, multiprocessing, os, subprocess, sys
from ollama_queue import QueueManager, Unavailable, generate_task

logging.disable()
queue = QueueManager(storage_path={folder!r}, ollama_host="127.0.0.1:9").start()
queue.pause()
task_id = queue.submit_task(generate_task("m", "hi"))
events, chunks = queue.subscribe(), queue.stream_task(task_id)
{state}
"""
END = """
{state}
print(queue.get_task_status(task_id))
queue.close()
"""
FORK = """
child = os.fork()
if child == 0:
    {act}
else:
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    {end}
"""
CLOSED = "queue.close()"
ENDS = {
    "sys.exit": ("sys.exit(3)", 3, ""),
    "the end": ("pass", 0, ""),
    "os._exit": ("os._exit(3)", 3, ""),
    "an exception": ("raise ValueError('mine')", 1, "ValueError: mine"),
    "nothing kept": ("import gc; del queue, events, chunks; gc.collect(); sys.exit(3)", 3, ""),
    "close": ("queue.close(); sys.exit(3)", 3, ""),
    "atexit": ("atexit.register(print, 'bye', file=sys.stderr); sys.exit(3)", 3, "bye"),
    "a child's child": (
        "sys.exit(3 if os.fork() == 0 else os.waitstatus_to_exitcode(os.wait()[1]))", 3, ""
    ),
    "another program": ("os.execl(sys.executable, sys.executable, '-c', 'exit(3)')", 3, ""),
}  # fmt: skip


def run(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    return subprocess.run(command, capture_output=True, cwd=ROOT, text=True, timeout=30)


@pytest.mark.parametrize("state", ["open", "closed"])
@pytest.mark.parametrize("end", ENDS)
def test_a_forked_child_ends_as_any_other(end: str, state: str, tmp_path: Path) -> None:
    act, code, said = ENDS[end]
    closing = CLOSED if state == "closed" else ""
    opening = "" if state == "closed" else "print(queue.get_task_status(task_id)); queue.close()"
    program = BEGIN.format(folder=str(tmp_path), state=closing)

    ended = run(program + FORK.format(act=act, end=opening or "pass"))

    assert ended.returncode == 0
    assert ended.stdout.split() == [str(code), *["pending"] * (state == "open")]
    errors = ended.stderr.strip().splitlines()
    assert (errors[-1] if errors else "") == said


USES = {
    "a process": """
def work():
    try:
        queue.submit_task(generate_task("m", "hi"))
    except Unavailable:
        sys.exit(3)

process = fork.Process(target=work)
process.start()
process.join()
print(process.exitcode)
""",
    "a pool": """
def work(number):
    try:
        return queue.list_tasks()
    except Unavailable:
        return number

with fork.Pool(2) as pool:
    print(pool.map(work, [3], chunksize=1)[0])
    pool.close()
    pool.join()
""",
    "a pool of futures": """
from concurrent.futures import ProcessPoolExecutor

with ProcessPoolExecutor(2, mp_context=fork) as pool:
    print(pool.submit(int, "3").result())
""",
    "a program that is prepared": """
print(subprocess.run([sys.executable, "-c", "exit(3)"], preexec_fn=lambda: None).returncode)
""",
    "what waits already": """
def work():
    answers = set()
    for verb in (events.get, chunks.__next__, lambda: list(events)):
        try:
            answers.add(verb())
        except Unavailable as error:
            answers.add(type(error))
    sys.exit(3 if answers == {Unavailable} else 4)

process = fork.Process(target=work)
process.start()
process.join(10)
print(process.exitcode)
""",
}


@pytest.mark.parametrize("use", USES)
def test_what_forks_in_the_middle_of_a_program_does_no_harm(use: str, tmp_path: Path) -> None:
    program = BEGIN.format(folder=str(tmp_path), state='fork = multiprocessing.get_context("fork")')

    ended = run(program + USES[use] + END.format(state=""))

    assert (ended.returncode, ended.stdout.split()) == (0, ["3", "pending"]), ended.stderr


# --- gunicorn ------------------------------------------------------------------------------------

APP = """
from ollama_queue import QueueManager, Unavailable, generate_task

queue = QueueManager(storage_path={folder!r}, ollama_host="127.0.0.1:9").start()
queue.pause()
queue.submit_task(generate_task("m", "hi"))


def app(environ, start_response):
    try:
        said = str(queue.get_queue_stats())
    except Unavailable as error:
        said = error.message
    start_response("200 OK", [("Content-Length", str(len(said)))])
    return [said.encode()]
"""


def test_under_gunicorn_with_preload_workers_answer_and_stop(tmp_path: Path) -> None:
    (tmp_path / "preloaded.py").write_text(APP.format(folder=str(tmp_path / "data")))
    socket = tmp_path / "socket"
    options = ["--preload", "--workers", "2", "--bind", f"unix:{socket}", "--no-control-socket"]
    command = [sys.executable, "-m", "gunicorn", *options, "preloaded:app"]
    python_path = os.pathsep.join([str(tmp_path), str(ROOT)])
    master = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": python_path},
        cwd=tmp_path,
    )
    assert master.stderr is not None
    log = []
    for line in master.stderr:
        log.append(line)
        if sum("Booting worker" in line for line in log) == 2:
            break

    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket), retries=5)) as client:
        said = {client.get("http://app/").text for _ in range(4)}
    master.send_signal(signal.SIGTERM)
    log += master.communicate(timeout=20)[1].splitlines(keepends=True)

    words = f"this queue was opened in process {master.pid}; "
    assert said == {words + "use Client here, or open it after the fork"}
    assert master.returncode == 0
    assert not [line for line in log if "SIG" in line.replace("SIGTERM", "") or "Error" in line], (
        log
    )


def test_a_client_that_was_forked_speaks_on_a_connection_of_its_own(tmp_path: Path) -> None:
    door = EmbeddedDoor("QueueManager", tmp_path)
    server = AppServer.of(door.manager)
    client = Client(server.url)
    task_id = client.submit_task(ask())
    client.wait(task_id, timeout=10)
    before = client._connections._http

    said = in_child(lambda: (client.get_task_status(task_id), client._connections._http is before))

    assert said == str((Status.COMPLETED, False))
    assert client.get_task_status(task_id) is Status.COMPLETED
    client.close()
    door.close()
    server.end()
