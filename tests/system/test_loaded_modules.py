"""What programs load when they start: no more than they use. Names are compared, not times."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_queue import generate_task
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import ROOT

OF_SERVERS = {"bottle", "croniter", "gevent", "geventwebsocket", "pykka", "rocksdict", "yaml"}
OF_CLIENTS = {"anyio", "h11", "httpcore", "httpx", "msgspec", "socket", "ssl"}
UNUSED = {"asyncio", "psycopg", "psycopg_pool", "pygments", "unittest"}  # parts for other uses
COMMAND = """
from ollama_queue.cli.main import cli
try:
    cli.main({arguments}, prog_name="ollama-queue")
finally:
    {say}
"""
SAY = 'import sys; print(*sys.modules, sep="\\n")'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    folder: Path = tmp_path_factory.mktemp("loaded")
    with FakeOllama() as fake, QueueServer(folder, fake.url) as server:
        with server.client() as client:
            client.pause()
            client.submit_task(generate_task("m", "hi"))
        yield server


def loaded(program: str) -> set[str]:
    """The names of the modules that are loaded when a program ends, those of packages alone."""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def of_command(*arguments: str) -> set[str]:
    return loaded(COMMAND.format(arguments=list(arguments), say=SAY))


def test_importing_the_package_loads_nothing_else() -> None:
    assert loaded(f"import ollama_queue; {SAY}") - loaded(SAY) == {"ollama_queue"}


@pytest.mark.parametrize("command", [(), ("list",), ("submit", "chat"), ("cron", "add")])
def test_help_loads_no_library_but_that_of_commands(command: tuple[str, ...]) -> None:
    modules = of_command(*command, "--help")

    assert modules & (OF_SERVERS | OF_CLIENTS | UNUSED | {"rich"}) == set()
    assert "click" in modules


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_command_loads_a_client_and_no_server(server: QueueServer, output: str) -> None:
    modules = of_command("list", "--server", server.base_url, "--output", output)

    assert modules & (OF_SERVERS | UNUSED | {"rich"}) == set()  # rich is for terminals
    assert "httpx" in modules


def test_the_server_loads_nothing_of_the_command_line() -> None:
    modules = loaded(f"import ollama_queue.http.serving.serve; {SAY}")

    assert modules & (UNUSED | {"httpcore", "ollama_queue.cli", "rich"}) == set()
    assert {"gevent", "rocksdict"} <= modules
