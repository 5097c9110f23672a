"""What README's table "works with" says: programs of others, unchanged, before a queue.

Each is tried before an Ollama and before an OpenAI-compatible server; both are fakes, since their
model is the least of it.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fakes.model_server import FakeOllama
from tests.support.servers import installed_clients
from tests.support.servers.queue_server import QueueServer

HERE = Path(__file__).parent
SAID = "Hello from here"
PATIENCE_S = 120.0


@pytest.fixture(params=["ollama", "openai"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with FakeOllama().lists("m") as fake:
        model = fake.url if request.param == "ollama" else fake.openai_url
        with QueueServer(tmp_path, model, kind=request.param) as server:
            yield server.base_url


def told(*command: str | Path, **environment: str) -> Any:
    """What a script printed: one line of JSON, the last one."""
    done = subprocess.run(
        [str(each) for each in command],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_javascript(url: str, tmp_path: Path) -> None:
    """Imports are looked for beside the script."""
    script = installed_clients.node_folder() / "javascript.mjs"
    shutil.copy(HERE / "javascript.mjs", script)

    heard = told("node", script, url, "m")

    missing = 'model "nope" not found, try pulling it first'
    for name in ("chat", "generate", "completion"):
        assert heard[name] == SAID
    assert ["".join(heard["chunks"]), "".join(heard["deltas"])] == [SAID, SAID]
    assert len(heard["chunks"]) > 2
    assert len(heard["deltas"]) > 2
    assert (heard["embed"], heard["vectors"]) == (2, 2)
    assert [name.removesuffix(":latest") for name in heard["models"]] == ["m"]
    assert [name.removesuffix(":latest") for name in heard["listed"]] == ["m"]
    assert heard["unknown"] == missing
    assert heard["missing"] == [404, "model_not_found"]


def test_llama_index_and_litellm(url: str) -> None:
    """Both send `num_ctx` with every call to Ollama's API, whatever the server."""
    heard = told(installed_clients.python(), HERE / "agents.py", url, "m", PYTHONPATH="")

    assert heard == dict.fromkeys(heard, SAID)
    assert heard.keys() == {"llama_index", "streamed", "ollama", "parts", "openai"}
