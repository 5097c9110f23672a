"""How the real program ends: at Ctrl-C, when its output is gone, in any encoding."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ollama_queue import Client, generate_task
from tests.support.fakes.model_server import FakeOllama, Stream
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import ROOT

PATIENCE_S = 30.0
EMOJI = "a 😀 é"
# At a line of an import, of a call, of a return: each so many lines after the program's first one.
SWEEP = [0, 30, 300, 1000, 3000, 10_000, 20_000, 40_000, 60_000, 80_000, 120_000, 160_000]
INTERRUPTS = """
import _signal, signal, sys

left = int(sys.argv.pop(1))

def count(frame, event, arg):
    global left
    left -= 1
    if left == 0:
        sys.settrace(None)
        signal.raise_signal(signal.SIGINT)
    return count

from ollama_queue.cli import start

reset = _signal.signal

def began(*args):
    _signal.signal = reset
    reset(*args)
    sys.settrace(count)

_signal.signal = began
start.main()
"""


@pytest.fixture(scope="module")
def gate() -> threading.Event:
    return threading.Event()


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, gate: threading.Event
) -> Iterator[QueueServer]:
    """Its one worker streams a word and then no more; other tasks wait."""
    folder = tmp_path_factory.mktemp("queue")
    stream = Stream(words=["first ", "last"], gate=gate)
    with (
        FakeOllama(lambda _: stream) as model,
        QueueServer(folder, model.url, workers=1) as running,
    ):
        yield running
        gate.set()


@pytest.fixture(scope="module")
def running(server: QueueServer) -> str:
    with server.client() as client:
        return client.submit_task(generate_task("m", EMOJI))


def begin(server: QueueServer, *args: str | bytes, **environment: str) -> subprocess.Popen[bytes]:
    return program("-m", "ollama_queue.cli.start", *args, server=server, **environment)


def program(*args: str | bytes, server: QueueServer, **environment: str) -> subprocess.Popen[bytes]:
    known = {**os.environ, "PYTHONPATH": str(ROOT), "OLLAMA_QUEUE_SERVER": server.base_url}
    return subprocess.Popen(
        [sys.executable, *args],
        env=known | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def run(server: QueueServer, *args: str | bytes, **environment: str) -> tuple[int, str, str]:
    with begin(server, *args, **environment) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    encoding = environment.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    if encoding == "ascii":
        encoding = "utf-8"  # click takes it for a locale that nobody has set
    return process.returncode, out.decode(encoding), err.decode(encoding)


# --- Ctrl-C -------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", SWEEP)
def test_ctrl_c_at_any_line(server: QueueServer, running: str, lines: int) -> None:
    """Modules load in a command, too; those of the server's client take most of its time."""
    with program("-c", INTERRUPTS, str(lines or 1), "wait", running, server=server) as process:
        # Where there are fewer lines it waits by now, and is interrupted from without.
        try:
            process.wait(3 if lines == SWEEP[-1] else PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (130, b"")
    assert_short(err)


MINDED = """
import _signal, os, sys

known = set(sys.modules)

def began(*_):
    print(*sorted(set(sys.modules) - known), flush=True)
    os._exit(0)

_signal.signal = _signal.pthread_sigmask = began
from ollama_queue.{} import main
main()
"""


@pytest.mark.parametrize("program", ["cli.start", "http.serving.serve"])
def test_next_to_nothing_runs_before_ctrl_c_is_minded(program: str) -> None:
    """Until then a Ctrl-C hits Python's own start, which answers with a traceback."""
    said = subprocess.run(
        [sys.executable, "-c", MINDED.format(program)],
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    names = f"ollama_queue.{program}".split(".")
    assert said.stdout.split() == [".".join(names[: i + 1]) for i in range(len(names))]


def assert_short(err: bytes) -> None:
    assert len(err.strip().splitlines()) <= 1, err.decode()
    assert b"Traceback" not in err


COMMANDS = {
    "stream": ["stream", "ID"],
    "submit --stream": ["submit", "generate", "--model", "m", "--prompt", "x", "--stream"],
    "submit --wait": ["submit", "generate", "--model", "m", "--prompt", "x", "--wait"],
    "events": ["events"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_while_it_waits(server: QueueServer, running: str, name: str) -> None:
    args = [running if arg == "ID" else arg for arg in COMMANDS[name]]
    with begin(server, *args) as process:
        assert process.stdout is not None and process.stderr is not None
        said = process.stdout if name == "stream" else process.stderr
        assert said.read(1)  # it streams, listens, or has submitted
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert len(err.strip().splitlines()) <= 2  # the rest of what it said before among them


def test_ctrl_c_while_it_reads_a_batch(server: QueueServer) -> None:
    line = json.dumps({"type": "generate", "model": "m", "prompt": "x" * 100_000}).encode() + b"\n"
    with begin(server, "submit", "batch", "--file", "-") as process:
        assert process.stdin is not None
        for _ in range(4):  # more than a pipe holds: it reads
            process.stdin.write(line)
            process.stdin.flush()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
        assert process.stderr is not None
        assert_short(process.stderr.read())


def test_ctrl_c_at_a_question(server: QueueServer, running: str) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ollama_queue.cli.start", "cancel", "--all"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OLLAMA_QUEUE_SERVER": server.base_url},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(ours, 1000)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 130
    with suppress(OSError):  # nothing more was said
        said += os.read(ours, 1000)
    os.close(ours)
    assert_short(said)
    with server.client() as client:
        assert client.get_task(running).status in ("pending", "running")


def test_many_ctrl_c_are_one(server: QueueServer, running: str) -> None:
    with begin(server, "stream", running) as process:
        assert process.stdout is not None and process.stdout.read(1)
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
        assert process.returncode == 130
        assert process.stderr is not None
        assert_short(process.stderr.read())


def test_ctrl_c_while_nobody_reads_the_output(server: QueueServer) -> None:
    with server.client() as client:
        client.pause()
        ids = client.submit_batch([generate_task("m", "x") for _ in range(1000)]).task_ids
    with begin(server, "list", "--limit", "1000", "--output", "json") as process:
        assert process.stdout is not None and process.stdout.read(1)  # the pipe is full soon
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
    with server.client() as client:
        client.cancel_tasks(ids)
        client.resume()


# --- outputs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [["list"], ["--help"], ["status"], ["watch", "--once"]])
def test_a_reader_that_has_left_is_no_error(server: QueueServer, args: list[str]) -> None:
    with begin(server, *args) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize("args", [["list"], ["--help"], ["status", "--output", "json"]])
def test_an_output_that_is_full_is_one_line(server: QueueServer, args: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "ollama_queue.cli.start", *args],
            env={"PYTHONPATH": str(ROOT), "OLLAMA_QUEUE_SERVER": server.base_url},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    words = "Error: the output cannot be written: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (2, words)


def test_an_output_that_is_closed_is_no_error(server: QueueServer) -> None:
    shell = f"{sys.executable} -m ollama_queue.cli.start list >&- 2>&- <&-"
    environment = {"PYTHONPATH": str(ROOT), "OLLAMA_QUEUE_SERVER": server.base_url}
    assert subprocess.run(["sh", "-c", shell], env=environment).returncode == 0


# --- encodings ----------------------------------------------------------------------------------

ESCAPED = [r"a \ud83d\ude00 é", r"a \ud83d\ude00 \u00e9"]
ENCODINGS = [
    {"PYTHONIOENCODING": "cp1252"},
    {"PYTHONIOENCODING": "cp1252:strict"},
    {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]


@pytest.mark.parametrize("environment", ENCODINGS, ids=lambda each: " ".join(each.values()))
def test_an_emoji_in_any_encoding(
    server: QueueServer, running: str, environment: dict[str, str]
) -> None:
    code, out, err = run(server, "status", running, "--output", "json", **environment)
    assert (code, err) == (0, "")
    assert json.loads(out)["payload"]["prompt"] == EMOJI

    for args in (["list", "--status", "running"], ["watch", "--once"], ["status", running]):
        code, out, err = run(server, *args, **environment)
        assert (code, err) == (0, "")
        assert any(said in out for said in (EMOJI, *ESCAPED))

    code, out, err = run(server, "priority", running, EMOJI, **environment)
    assert (code, out) == (2, "")
    assert_short(err.encode())


@pytest.mark.parametrize("environment", ENCODINGS[-1:], ids=["C"])
def test_words_that_the_locale_does_not_know(
    server: QueueServer, environment: dict[str, str]
) -> None:
    args = ["submit", "generate", "--model", "m", "--prompt"]
    code, task_id, _ = run(server, *args, EMOJI.encode(), **environment)
    assert code == 0
    broken = run(server, *args, b"a \xff")[1]
    with server.client() as client:
        for each, said in ((task_id, EMOJI), (broken, "a \ufffd")):
            task = client.cancel_task(each.strip())
            assert client.get_task(task.id).payload == {"prompt": said}
    for args in (["list", "--model"], ["status"], ["cancel", "--yes", "--tag"]):
        code, _, err = run(server, *args, b"\xff")
        assert code in (0, 3)
        assert_short(err.encode())


def test_a_file_may_have_any_name(server: QueueServer, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff.json"
    with open(name, "wb") as file:
        file.write(b'[{"type": "generate", "model": "m", "prompt": "x"}]')
    for args in ([b"--file", name], [b"--file=" + name]):
        code, ids, _ = run(server, "submit", "batch", *args)
        assert code == 0
        with Client(server.base_url) as client:
            client.cancel_task(ids.strip())
