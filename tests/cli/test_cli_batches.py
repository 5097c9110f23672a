"""`batch create|list|show|cancel|results`: a file of requests, from the command line."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ollama_queue import generate_task
from ollama_queue.http import wire
from ollama_queue.http.clients.batch_files import BatchFiles
from ollama_queue.http.serving.app import create_app
from tests.support.harness.cli import CliHarness

CHAT = "/v1/chat/completions"


def request(name: str, url: str = CHAT) -> str:
    body = {"model": "smollm2", "messages": [{"role": "user", "content": name}]}
    return json.dumps({"custom_id": name, "method": "POST", "url": url, "body": body})


def facts(text: str) -> dict[str, str]:
    """What `show` prints, by name."""
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in lines}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[CliHarness]:
    with CliHarness(tmp_path) as made:
        yield made


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "in.jsonl"
    file.write_text("\n".join([request("a"), request("b"), request("c")]))
    return str(file)


def test_a_file_is_run_and_its_results_printed(house: CliHarness, path: str) -> None:
    text = house.ok("batch", "create", path, "--wait", "--window", "7d", "--priority", "normal")

    shown = facts(text)
    assert (shown["status"], shown["completed"], shown["tasks"]) == ("completed", "3", "3")
    assert (shown["endpoint"], shown["tokens"]) == (CHAT, "9 in, 9 out")
    (batch,) = house.json("batch", "list")
    assert (batch["job"]["completion_window"], batch["job"]["priority"]) == ("7d", 5)
    lines = [json.loads(line) for line in house.ok("batch", "results", batch["id"]).splitlines()]
    assert [line["custom_id"] for line in lines] == ["a", "b", "c"]
    assert lines[0]["response"]["body"]["choices"][0]["message"]["content"] == "Hello from here"
    assert house.ok("batch", "results", batch["id"], "--errors") == ""
    table = house.ok("batch", "list").splitlines()
    assert table[0].split() == ["ID", "STATUS", "TASKS", "DONE", "FAILED", "CREATED", "ENDPOINT"]
    assert table[1].split()[:5] == [batch["id"], "completed", "3", "3", "0"]


@pytest.mark.parametrize("command", [("batch", "create"), ("submit", "batch", "--file")])
def test_a_file_may_come_by_a_pipe(house: CliHarness, command: tuple[str, ...]) -> None:
    task = json.dumps({"type": "generate", "model": "smollm2", "prompt": "hi"})
    lines = [request("a"), request("b")] if command[0] == "batch" else [task, task]

    result = house.run(*command, "-", stdin="\n".join(lines))

    assert result.exit_code == 0, result.output
    (batch,) = house.queue.list_batches()
    while not (batch := house.queue.get_batch(batch.id)).is_settled:
        pass
    assert batch.completed == 2


class LosesAnAnswer(httpx.WSGITransport):
    """Loses the answer to the first batch that is created."""

    is_lost = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        if request.url.path == wire.BATCHES and not self.is_lost:
            self.is_lost = True
            raise httpx.ReadError("lost")
        return answer


def test_a_batch_whose_answer_is_lost_is_created_once(house: CliHarness, path: str) -> None:
    transport = LosesAnAnswer(app=create_app(house.queue))
    files = BatchFiles("http://queue", transport)
    with open(path, "rb") as file:
        file_id = files.upload("in.jsonl", file)
    created = files.create({"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"})
    files.close()

    assert transport.is_lost
    assert [batch.id for batch in house.queue.list_batches()] == [created.id]


def test_each_line_has_the_fallbacks(house: CliHarness, tmp_path: Path) -> None:
    file = tmp_path / "big.jsonl"
    file.write_text(request("a").replace("smollm2", "gpt-5.2"))

    text = house.ok(
        "batch", "create", str(file), "--wait", "--fallback", "absent", "--fallback", "smollm2"
    )

    assert (facts(text)["status"], facts(text)["fallbacks"]) == ("completed", "absent, smollm2")


def test_openais_id_of_a_batch_works_too(house: CliHarness, path: str) -> None:
    batch_id = house.ok("batch", "create", path).strip()

    named = f"batch_{batch_id.replace('-', '')}"
    assert house.json("batch", "show", named)["id"] == batch_id


def test_a_waiting_batch_can_be_cancelled(house: CliHarness, path: str) -> None:
    house.queue.pause()
    batch_id = house.ok("batch", "create", path).strip()

    result = house.run("batch", "results", batch_id)
    assert (result.exit_code, "at its end" in result.stderr) == (4, True)
    house.ok("batch", "cancel", batch_id)
    while not house.queue.get_batch(batch_id).is_settled:
        pass
    assert facts(house.ok("batch", "show", batch_id))["status"] == "cancelled"
    assert house.run("batch", "cancel", batch_id).exit_code == 4


def test_what_is_wrong_is_said_by_line(house: CliHarness, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(f"{request('a')}\n{request('a')}\n{request('b', '/v1/x')}\n")

    result = house.run("batch", "create", str(file), "--wait")

    assert result.exit_code == 1
    assert "line 2: custom_id 'a' is that of an earlier line (duplicate_custom_id)" in result.output
    assert "line 3: url must be /v1/chat/completions" in result.output
    assert house.run("batch", "create", str(file), "--window", "soon").exit_code == 2
    assert house.run("batch", "create", str(tmp_path)).exit_code == 2
    assert house.run("batch", "create", str(tmp_path / "none")).exit_code == 2
    assert house.run("batch", "create", str(file), "--endpoint", "/v1/x").exit_code == 2


def test_any_batch_is_shown_and_cancelled(house: CliHarness) -> None:
    house.queue.pause()
    made = house.queue.submit_batch([generate_task("smollm2", str(n)) for n in range(3)])

    assert facts(house.ok("batch", "show", made.batch_id))["pending"] == "3"
    assert facts(house.ok("batch", "cancel", made.batch_id))["cancelled"] == "3"
    lines = house.ok("batch", "results", made.batch_id, "--errors").splitlines()
    assert [json.loads(line)["task_id"] for line in lines] == made.task_ids
    assert house.run("batch", "cancel", made.batch_id).exit_code == 4
    assert house.run("batch", "show", "nothing").exit_code == 3
