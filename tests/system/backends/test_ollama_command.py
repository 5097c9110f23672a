"""Ollama's own command line, before a queue over both types of servers: `OLLAMA_HOST` is all."""

import os
import re
import subprocess
import threading
from collections.abc import Iterator

import pytest

from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import FOLDER, LlamaServer, OllamaServer

PATIENCE_S = 180.0


class CommandLine:
    """`ollama` with the queue's address. What it says of a wait is on stderr, with escapes."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(self, *words: str, stdin: str | None = None) -> str:
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [FOLDER / "ollama-serve", str(self.port), *words],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert "panic" not in done.stderr + done.stdout, done.stderr
        return done


@pytest.fixture(scope="module")
def command(
    ollama: OllamaServer, llama: LlamaServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CommandLine]:
    process = QueueServer(tmp_path_factory.mktemp("queue"), ollama.url, workers=2)
    process.config.write_text(
        f"backends:\n- {{name: ollama, type: ollama, url: '{ollama.url}'}}\n"
        f"- {{name: llama, type: openai, url: '{llama.url}'}}\n"
    )
    with process:
        yield CommandLine(process.port)


@pytest.fixture(params=["ollama", "llama"])
def model(request: pytest.FixtureRequest) -> str:
    server: OllamaServer | LlamaServer = request.getfixturevalue(request.param)
    return server.model


def test_list(command: CommandLine, ollama: OllamaServer, llama: LlamaServer) -> None:
    lines = command("list").splitlines()

    assert lines[0].split()[:3] == ["NAME", "ID", "SIZE"]
    rows = {line.split()[0]: line.split()[1] for line in lines[1:]}
    assert {ollama.model, llama.model} <= rows.keys()
    assert all(re.fullmatch("[0-9a-f]{12}", digest) for digest in rows.values())


def test_show(command: CommandLine, model: str) -> None:
    assert "architecture" in command("show", model)


def test_show_its_parts(command: CommandLine, model: str) -> None:
    assert command("show", "--modelfile", model).lstrip("# \n")
    command("show", "--parameters", model)


def test_what_llama_cpp_tells_of_its_model(command: CommandLine, llama: LlamaServer) -> None:
    assert re.search(r"parameters +134\.5\dM", command("show", llama.model))


def test_run_with_a_prompt(command: CommandLine, model: str) -> None:
    assert command("run", model, "Say hello.").strip()


def test_run_in_a_pipe(command: CommandLine, model: str) -> None:
    assert command("run", model, stdin="Say hello.").strip()


def test_run_verbosely(command: CommandLine, model: str) -> None:
    told = command.run("run", "--verbose", model, "Say hello.")

    for figure in ("total duration", "prompt eval duration", "eval rate"):
        assert re.search(rf"{figure}: +[1-9]", told.stderr), told.stderr


def test_run_at_a_terminal(command: CommandLine, model: str) -> None:
    """A terminal is asked for its size and drawn to: two lines typed, one answer, `/bye`."""
    main, side = os.openpty()
    with subprocess.Popen(
        [FOLDER / "ollama-serve", str(command.port), "run", model],
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
    ) as process:
        os.close(side)
        seen = Screen(main)
        seen.wait_for(">>>")
        os.write(main, b"Say hello.\r")
        seen.wait_for(">>>", after="Say hello.")
        os.write(main, b"/bye\r")
        assert process.wait(PATIENCE_S) == 0
    os.close(main)
    assert "panic" not in seen.text


def test_ps_and_stop(command: CommandLine, ollama: OllamaServer, llama: LlamaServer) -> None:
    command("run", ollama.model, "hi")
    assert ollama.model in command("ps")
    command("stop", ollama.model)
    while ollama.model in (told := command("ps")):  # Ollama unloads it aside
        assert "Stopping" in told
    command("stop", llama.model)  # it has its model in memory, whatever is asked


def test_a_model_that_nobody_has(command: CommandLine) -> None:
    told = command.run("show", "nope")

    assert told.returncode == 1
    assert 'model "nope" not found, try pulling it first' in told.stderr


def test_a_verb_that_is_not_passed_on(command: CommandLine, ollama: OllamaServer) -> None:
    told = command.run("rm", ollama.model)

    assert told.returncode == 1
    assert "the queue does not forward delete: set proxy.admin to true" in told.stderr


class Screen:
    """What came to a terminal, read aside."""

    def __init__(self, number: int) -> None:
        self.text = ""
        self._number = number
        self._came = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, words: str, after: str = "") -> None:
        def is_there() -> bool:
            return words in self.text.rpartition(after)[2] if after else words in self.text

        with self._came:
            assert self._came.wait_for(is_there, PATIENCE_S), self.text

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._number, 4096)
            except OSError:  # the terminal is closed
                return
            with self._came:
                self.text += piece.decode(errors="replace")
                self._came.notify_all()
