"""`kill -9` in the middle of large batches: no line that has ended runs again, and none is missing.

`make campaign` makes them larger.
"""

import json
import os
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import openai

from tests.support.fakes.behaviours import Answer, Behaviour, Stream
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import LlamaServer, model_server

LINES = int(os.environ.get("OLLAMA_QUEUE_LINES", "3000"))
LINES_OF_A_REAL_MODEL = min(LINES // 15, 1000)
CHAT: Any = "/v1/chat/completions"
SYSTEMS = ("You answer with one word.", "You answer with one number.")
PATIENCE_S = 60.0  # without progress


class Calls:
    """The calls of each line that have begun, to wait for."""

    def __init__(self) -> None:
        self.by_line: Counter[str] = Counter()
        self._changed = threading.Condition()

    def note(self, body: dict[str, Any]) -> None:
        with self._changed:
            self.by_line[body["messages"][-1]["content"]] += 1
            self._changed.notify_all()

    def await_lines(self, count: int) -> None:
        """Wait until so many lines have been called."""
        with self._changed:
            while (seen := len(self.by_line)) < count:
                grown = self._changed.wait_for(lambda: len(self.by_line) > seen, PATIENCE_S)
                assert grown, f"{seen} of {count} lines in {PATIENCE_S} s"


def test_many_lines_through_two_kills(tmp_path: Path) -> None:
    calls, workers = Calls(), 8

    def behave(body: dict[str, Any]) -> Behaviour:
        calls.note(body)
        return Stream(words=["a"])

    with FakeOllama(behave) as model, QueueServer(tmp_path, model.url, workers=workers) as server:
        check_a_batch(server, "m", LINES, calls, (LINES // 3, LINES * 2 // 3))


def test_a_real_model_through_a_kill(tmp_path: Path, llama: LlamaServer) -> None:
    calls = Calls()

    def pass_on(body: dict[str, Any]) -> Behaviour:
        calls.note(body)
        return answer_of(llama, body)

    lines = LINES_OF_A_REAL_MODEL
    with (
        FakeOllama(pass_on).lists(llama.model) as between,
        QueueServer(tmp_path, between.openai_url, workers=2, kind="openai") as server,
    ):
        usage = check_a_batch(server, llama.model, lines, calls, (lines // 2,))
    assert usage.output_tokens == lines
    assert usage.input_tokens > usage.input_tokens_details.cached_tokens > 0


def answer_of(llama: LlamaServer, body: dict[str, Any]) -> Answer:
    headers = {"Content-Type": "application/json"}
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"{llama.url}/chat/completions", data, headers)
    with model_server.DIRECT.open(request, timeout=PATIENCE_S) as response:
        kind = response.headers["Content-Type"]
        return Answer(response.status, response.read(), {"Content-Type": kind})


def check_a_batch(
    server: QueueServer, model: str, lines: int, calls: Calls, kills: Sequence[int]
) -> Any:
    """Run a batch, killing the queue when so many lines have begun; returns the batch's usage."""
    names = [f"line {number}" for number in range(lines)]
    official = openai.OpenAI(base_url=f"{server.base_url}/v1", api_key="x", max_retries=0)
    text = b"\n".join(line_of(number, name, model) for number, name in enumerate(names))
    file = official.files.create(file=text, purpose="batch")
    batch = official.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    settled: dict[str, int] = {}  # calls of the lines whose ends were on disk before a kill
    for count in kills:
        calls.await_lines(count)
        settled |= {title: calls.by_line[title] for title in ended(server)}
        server.kill()
        server.start()
    calls.await_lines(lines)
    pause = threading.Event()
    while batch.status in ("validating", "in_progress", "finalizing"):
        pause.wait(0.1)
        batch = official.batches.retrieve(batch.id)

    assert batch.request_counts is not None
    assert (batch.status, batch.request_counts.completed) == ("completed", lines)
    assert (batch.error_file_id, batch.usage is None) == (None, False)
    assert batch.output_file_id is not None
    answers = official.files.content(batch.output_file_id).text.splitlines()
    assert [json.loads(answer)["custom_id"] for answer in answers] == names
    official.close()
    assert calls.by_line.keys() == set(names)
    assert settled
    assert {name: calls.by_line[name] for name in settled} == settled, "what has ended runs again"
    again = calls.by_line.total() - lines
    print(f"{lines} lines, {len(kills)} kills: {again} calls again, of those under way")
    # What has begun or ended since the last fsync but one: the slower the disk, the more.
    assert again <= lines / 3
    return batch.usage


def line_of(number: int, name: str, model: str) -> bytes:
    system = {"role": "system", "content": SYSTEMS[number % len(SYSTEMS)]}
    messages = [system, {"role": "user", "content": name}]
    body = {"model": model, "messages": messages, "max_tokens": 1, "temperature": 0}
    return json.dumps({"custom_id": name, "method": "POST", "url": CHAT, "body": body}).encode()


def ended(server: QueueServer) -> Iterator[str]:
    """The titles of the tasks that have ended."""
    wanted: dict[str, Any] = {"status": "completed", "limit": 1000}
    with server.client() as client:
        while True:
            page = client.list_page(wanted)
            yield from (task.title for task in page.tasks)
            if page.cursor is None:
                return
            wanted["cursor"] = page.cursor
