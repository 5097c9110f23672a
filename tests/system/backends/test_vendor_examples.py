"""The vendors' own examples, with nothing changed but the address, before a real model.

Their model is nonsense-grade: shapes, counts and order are looked at, never what it says.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import metadata
from pathlib import Path
from threading import Event
from typing import Any

import anthropic
import openai
import pytest

from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import LlamaServer, Server, kind_of, model_server

PATIENCE_S = 60.0
CHAT: Any = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Say hello."}]
# What a README has besides examples for a model at hand, by words in it.
OTHERS = (
    *("workload_identity", "realtime", "Azure", "bedrock", "fine_tuning", "transcriptions"),
    *("image_url", "httpx2", "flask", "aiohttp", "Aio", "ollama.com", "-cloud", "max_retries"),
)


def examples(package: str) -> list[str]:
    """The complete programs in a README that ask a model something."""
    about = metadata(package)
    text = about.get_payload() or about["Description"]
    blocks = re.findall(r"^```(?:python|py)\n(.*?)^```", str(text), re.M | re.S)
    return [
        block
        for block in blocks
        if re.search(r"\b(create|chat)\(", block)
        and re.search(r"^(from|import) ", block, re.M)
        and ("await" not in block or "async def" in block)
        and not any(word in block for word in OTHERS)
    ]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A queue as `make run` starts it, but no reply of its model is long."""
    with LlamaServer(context=256, predict=12) as llama:
        server = QueueServer(tmp_path_factory.mktemp("queue"), llama.url)
        model_server.write_config(server.config, llama.url, model_server.README_MODELS)
        with server:
            yield server.base_url


@pytest.mark.parametrize(("package", "count"), [("openai", 9), ("anthropic", 1), ("ollama", 5)])
def test_the_examples_of_a_readme_run(
    address: str, tmp_path: Path, package: str, count: int
) -> None:
    programs = examples(package)
    assert len(programs) >= count
    named = {name for each in programs for name in re.findall(r"model=['\"]([^'\"]+)", each)}
    assert named <= {*model_server.README_MODELS}, "name them in .dev/model_server.py"

    where = {
        "openai": {"OPENAI_BASE_URL": f"{address}/v1", "OPENAI_API_KEY": "none"},
        "anthropic": {"ANTHROPIC_BASE_URL": address, "ANTHROPIC_API_KEY": "none"},
        "ollama": {"OLLAMA_HOST": address},
    }[package]
    (tmp_path / "input.jsonl").write_text("{}")  # that one of them uploads
    run = "import json, sys\nfor text in json.load(sys.stdin):\n    exec(text, {'__name__': 'a'})\n"
    done = subprocess.run(
        [sys.executable, "-c", run],
        input=json.dumps([each.replace("localhost:11434", address[7:]) for each in programs]),
        env={**os.environ, **where},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()  # what a model says, and in how many words, is not up to us


@pytest.fixture
def queue(server: Server, tmp_path: Path) -> Iterator[str]:
    with QueueServer(tmp_path, server.url, workers=1, kind=kind_of(server)) as process:
        yield process.base_url


def ended(batch: Any, retrieve: Callable[[str], Any], is_over: Callable[[Any], bool]) -> Any:
    deadline, pause = time.monotonic() + PATIENCE_S, Event()
    while not is_over(batch):
        assert time.monotonic() < deadline, batch
        pause.wait(0.05)
        batch = retrieve(batch.id)
    return batch


def test_batches_of_both_vendors(queue: str, server: Server) -> None:
    with openai.OpenAI(base_url=f"{queue}/v1", api_key="none", timeout=PATIENCE_S) as client:
        body = {"model": server.model, "messages": HELLO, "max_tokens": 3}
        line = {"method": "POST", "url": CHAT, "body": body}
        text = "\n".join(json.dumps({"custom_id": name, **line}) for name in "ab")
        file = client.files.create(file=("in.jsonl", text.encode()), purpose="batch")
        made = client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        over = ended(made, client.batches.retrieve, lambda batch: batch.status == "completed")
        assert (over.request_counts.completed, over.request_counts.failed) == (2, 0)
        answers = [
            json.loads(each) for each in client.files.content(over.output_file_id).text.splitlines()
        ]
    assert [answer["custom_id"] for answer in answers] == ["a", "b"]
    replies = [answer["response"]["body"] for answer in answers]
    assert all(reply["choices"][0]["message"]["content"] for reply in replies)
    assert over.usage.output_tokens == sum(each["usage"]["completion_tokens"] for each in replies)

    with anthropic.Anthropic(base_url=queue, api_key="none", timeout=PATIENCE_S) as client:
        params: Any = {"model": server.model, "messages": HELLO, "max_tokens": 3}
        batches = client.messages.batches
        created = batches.create(requests=[{"custom_id": "c", "params": params}])
        ended(created, batches.retrieve, lambda batch: batch.processing_status == "ended")
        (result,) = batches.results(created.id)
    message: Any = result.result
    assert (result.custom_id, message.type) == ("c", "succeeded")
    assert message.message.content[0].text
    assert 1 <= message.message.usage.output_tokens <= 3
