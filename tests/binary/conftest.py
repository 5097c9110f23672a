"""The standalone binaries, built if they are missing or older than the sources."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.binaries import DIST, BinaryServer, Programs
from tests.support.servers.real_models import ROOT


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    build = [sys.executable, str(ROOT / ".dev" / "build_binaries.py")]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"ollama-queue", "ollama-queue-server"} <= {file.name for file in DIST.iterdir()}


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    programs = Programs(tmp_path)
    yield programs
    shutil.rmtree(programs.temporary)  # large if a server was killed


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    with FakeOllama() as fake:
        yield fake


@pytest.fixture
def server(programs: Programs, fake: FakeOllama) -> Iterator[BinaryServer]:
    with BinaryServer(programs, fake.url) as server:
        programs.server_url = server.base_url
        yield server
