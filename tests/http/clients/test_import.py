"""What a program pays that only calls a queue: no part of the server is loaded."""

import subprocess
import sys

import pytest

from tests.support.servers.real_models import ROOT

SERVERS = ("bottle", "croniter", "gevent", "pykka", "rocksdict", "yaml")
PARTS = ("core.plan", "core.config.config", "core.routing", "embedded", "store", "supervision")


@pytest.mark.parametrize("name", ["Client", "AsyncClient"])
def test_a_client_loads_no_server(name: str) -> None:
    unwanted = {*SERVERS, *(f"ollama_queue.actors.{part}" for part in PARTS)}
    program = f"import sys, ollama_queue; ollama_queue.{name}; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())

    assert f"ollama_queue.http.clients.{'client' if name == 'Client' else 'async_client'}" in loaded
    assert loaded & unwanted == set()
