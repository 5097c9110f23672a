"""Shared by all tests: a layout check, hypothesis's profile, and the real servers."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

for forbidden in ("http/__init__.py", "tests/http/__init__.py"):
    if (ROOT / forbidden).exists():
        pytest.exit(f"{forbidden} must not exist: it hides Python's own http package", returncode=4)

import hypothesis  # noqa: E402 (these need Python's http)

from tests.support.servers.postgres import PostgresServer  # noqa: E402
from tests.support.servers.real_models import LlamaServer, OllamaServer  # noqa: E402
from tests.support.servers.standing_fleet import StandingFleet  # noqa: E402

# A shell's background job ignores SIGINT, and so would the processes that tests stop with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("ci", derandomize=False, print_blob=True, deadline=None)
hypothesis.settings.load_profile("ci")

# In parallel runs, folders with slow files come first, and many short ones fill the end.
FIRST, LAST = ("tests/system", "tests/pages"), "tests/actors/core"


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The workers of `-n auto`: two per CPU, since most tests wait for something.

    0 if a file is named or output is not captured: tests then run in this process, as a debugger
    needs it.
    """
    files = any(Path(arg.partition("::")[0]).is_file() for arg in config.args)
    if files or config.getoption("capture") == "no":
        return 0
    return 2 * len(os.sched_getaffinity(0))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # in a worker of xdist
        items.sort(key=lambda i: i.nodeid.startswith(LAST) - i.nodeid.startswith(FIRST))


@pytest.fixture(scope="session")
def llama() -> Iterator[LlamaServer]:
    """SmolLM2 on llama.cpp's server, for all tests. A test that kills it must restart it."""
    with LlamaServer() as server:
        yield server


@pytest.fixture(scope="session")
def ollama() -> Iterator[OllamaServer]:
    """SmolLM2 on Ollama, for all tests. A test that kills it must restart it."""
    with OllamaServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """PostgreSQL, for all tests. A test that stops it must start it."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def standing_fleet(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StandingFleet]:
    """Two servers of one queue, for all tests that do the same at one that follows."""
    folder = tmp_path_factory.mktemp("fleet")
    with postgres.queue() as conninfo, StandingFleet(folder, conninfo) as fleet:
        yield fleet
