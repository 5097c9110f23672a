"""Random requests of Schemathesis, made from the OpenAPI document and sent to a real server: all
answers are as documented, none is a mistake of the server's, and the store is whole afterwards.

OLLAMA_QUEUE_REQUESTS=100000 sends as many, chosen anew each time. Without it the requests are the
same in every run, so that a fault is that of the change.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import ROOT

KEY = "oq_documented_api_of_the_tests"
AUTH = f"auth: {{keys: [{{name: tester, role: admin, key: {KEY}}}]}}\n"
IS_CAMPAIGN = "OLLAMA_QUEUE_REQUESTS" in os.environ
REQUESTS = int(os.environ.get("OLLAMA_QUEUE_REQUESTS", "5000"))
SYSTEMATIC = 3400  # requests at the bounds of each field, which are always sent
OPERATIONS = 45  # that random requests are made for
PATIENCE_S = 120 + REQUESTS / 20


@pytest.fixture
def server(tmp_path: Path) -> Iterator[QueueServer]:
    with FakeOllama() as model, QueueServer(tmp_path, model.url, settings=AUTH) as running:
        yield running


def run(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", module, *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S
    )


def attack(server: QueueServer) -> str:
    """What Schemathesis reports. Raises `AssertionError` if it finds a fault."""
    each = max(2, (REQUESTS - SYSTEMATIC) // OPERATIONS)
    done = run(
        "schemathesis.cli",
        f"--config-file={ROOT}/tests/security/schemathesis.toml",
        "run",
        f"{server.base_url}/openapi.json",
        f"--header=Authorization: Bearer {KEY}",
        "--phases=coverage,fuzzing,stateful",
        f"--max-examples={each}",
        "--generation-database=none" if IS_CAMPAIGN else "--generation-deterministic",
        "--continue-on-failure",
        "--no-shrink",
        "--no-color",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_random_requests_find_no_fault_and_leave_the_store_whole(server: QueueServer) -> None:
    report = attack(server)
    print(report)
    found = re.search(r"^ +(\d+) generated, \1 passed", report, re.MULTILINE)
    assert found is not None, report
    assert int(found[1]) > 0.9 * REQUESTS
    assert httpx.get(f"{server.base_url}/healthz").status_code == 200
    assert "Traceback" not in server.log_text()

    server.stop()
    verified = run("ollama_queue.http.serving.serve", "verify", str(server.folder / "data"))
    assert verified.returncode == 0, verified.stdout
