"""`kill -9` while batches from files are validated, run and written: each line is answered once."""

import json
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import openai

from tests.support.fakes.behaviours import Behaviour, Stream
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer
from tests.system.crashes.test_kill9 import SEED, WORKERS

KILLS = max(6, int(os.environ.get("OLLAMA_QUEUE_KILLS", "20")) // 2)
LINES = 300
BATCHES = 3
CHAT: Any = "/v1/chat/completions"
PATIENCE_S = 120.0


def line(name: str) -> bytes:
    body = {"model": "m", "messages": [{"role": "user", "content": name}]}
    return json.dumps({"custom_id": name, "method": "POST", "url": CHAT, "body": body}).encode()


def test_each_line_is_answered_once(tmp_path: Path) -> None:
    print(f"OLLAMA_QUEUE_SEED={SEED}")
    chance, pause = random.Random(SEED), threading.Event()
    calls: Counter[str] = Counter()

    def behave(body: dict[str, Any]) -> Behaviour:
        pause.wait(0.005)
        calls[body["messages"][0]["content"]] += 1
        return Stream(words=["a"])

    with FakeOllama(behave) as model:
        server = QueueServer(tmp_path, model.url, workers=WORKERS)
        server.start()
        url = f"{server.base_url}/v1"
        official = openai.OpenAI(base_url=url, api_key="x", max_retries=0)
        names = [[f"{batch}-{number}" for number in range(LINES)] for batch in range(BATCHES)]
        files = [
            official.files.create(file=b"\n".join(map(line, each)), purpose="batch").id
            for each in names
        ]
        ids = [
            official.batches.create(input_file_id=file, endpoint=CHAT, completion_window="24h").id
            for file in files
        ]
        settled: dict[str, int] = {}  # calls of the lines whose ends were on disk before a kill
        for _ in range(KILLS):
            pause.wait(chance.random() * 0.6)
            with server.client() as client:
                ended = client.list_tasks({"status": "completed", "limit": 1000})
            settled |= {task.title: calls[task.title] for task in ended}
            server.kill()
            server.start()
        deadline = time.monotonic() + PATIENCE_S
        batches = [official.batches.retrieve(batch) for batch in ids]
        while any(batch.status != "completed" for batch in batches):
            assert time.monotonic() < deadline, batches
            pause.wait(0.1)
            batches = [official.batches.retrieve(batch) for batch in ids]
        for batch, own in zip(batches, names, strict=True):
            assert batch.request_counts is not None
            assert (batch.request_counts.total, batch.request_counts.completed) == (LINES, LINES)
            assert batch.error_file_id is None
            assert batch.output_file_id is not None
            answers = official.files.content(batch.output_file_id).text.splitlines()
            assert [json.loads(answer)["custom_id"] for answer in answers] == own
        outputs = {batch.output_file_id for batch in batches}
        assert {file.id for file in official.files.list()} == {*files, *outputs}
        official.close()
        server.stop()
    assert calls.keys() == {name for own in names for name in own}
    assert {name: calls[name] for name in settled} == settled, "what has ended runs again"
