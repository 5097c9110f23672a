"""`ollama-queue submit`: every flag reaches the task, and `--wait` brings its answer."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.fakes.model_server import Answer
from tests.support.harness.cli import CliHarness

CHAT = ("submit", "chat", "--model", "m", "--messages")


@pytest.fixture
def house(tmp_path):
    with CliHarness(tmp_path) as house:
        yield house


def test_submit_prints_the_id_alone_and_talks_on_stderr(house):
    house.queue.pause()
    result = house.run(*CHAT, "user:hello")

    [task] = house.queue.list_tasks()
    assert result.stdout == f"{task.id}\n"
    assert result.stderr == f"Queued (1st). Follow: ollama-queue stream {task.id}\n"
    assert "Queued (2nd). Follow: " in house.run(*CHAT, "user:hello").stderr
    later = house.run(*CHAT, "user:hello", "--scheduled-at", "2035-01-01T00:00:00Z")
    assert later.stderr.startswith("Queued. Follow: ")


def test_submit_of_a_task_that_runs_at_once(house):
    house.ended()  # the queue knows by now that its model server is there
    assert house.run(*CHAT, "user:hello").stderr.startswith("Running. Follow: ")


def test_submit_as_json(house):
    house.queue.pause()
    first, second = (house.json(*CHAT, "user:hello") for _ in range(2))

    assert first == {"task_id": first["task_id"], "status": "pending", "position": 0}
    assert second["position"] == 1


def test_all_that_a_chat_takes(house):
    house.queue.pause()
    task_id = house.ok(
        *CHAT, "user:Hello: how are you?", "--messages", "Assistant: fine", "--system", "be brief",
        "--priority", "high", "--option", "temperature=0.2", "--option", 'stop=["a"]',
        "--option", "word=yes=no", "--max-retries", "0", "--timeout", "1.5",
        "--scheduled-at", "2030-01-01T00:00:00Z", "--tag", "a", "--tag", "b",
        "--deadline", "2030-01-02T00:00:00Z", "--start-within", "1h30m",
        "--format", '{"type": "object"}', "--think", "high",
    ).strip()  # fmt: skip
    task = house.queue.get_task(task_id)

    assert task.payload == {
        "messages": [
            {"role": "user", "content": "Hello: how are you?"},
            {"role": "assistant", "content": " fine"},
        ],
        "system": "be brief",
        "format": {"type": "object"},
        "think": "high",
    }
    assert task.options == {"temperature": 0.2, "stop": ["a"], "word": "yes=no"}
    assert (task.priority, task.max_retries, task.timeout_s) == (10, 0, 1.5)
    assert task.scheduled_at.isoformat() == "2030-01-01T00:00:00+00:00"
    assert (task.deadline.isoformat(), task.start_within) == ("2030-01-02T00:00:00+00:00", 5400.0)
    assert task.tags == ["a", "b"]


def test_a_deadline_may_count_from_now(house):
    before = datetime.now(UTC)
    task_id = house.ok(*CHAT, "user:a", "--deadline", "10m").strip()

    after = house.queue.get_task(task_id).deadline - timedelta(minutes=10)
    assert before <= after <= datetime.now(UTC)
    assert "deadline" in house.ok("status", task_id)


def test_a_late_task_is_found_by_its_code(house):
    house.queue.pause()
    late = house.ok(*CHAT, "user:a", "--start-within", "1ms").strip()
    house.ok(*CHAT, "user:b")
    house.queue.wait(late, timeout=10)

    (found,) = house.json("list", "--error-code", "expired")
    assert (found["id"], found["status"], found["error_code"]) == (late, "failed", "expired")
    assert found["error"] == "it did not start within 0.001 s (start_within)"
    result = house.run("result", late)
    assert result.exit_code == 1
    assert "failed: it did not start within 0.001 s" in result.stderr


def test_all_that_a_generate_takes(house):
    house.queue.pause()
    task_id = house.ok(
        "submit", "generate", "--model", "m", "--prompt", "def f(", "--suffix", "return",
        "--template", "{{ .Prompt }}", "--system", "be brief", "--format", "json", "--think",
        "--priority", "7",
    ).strip()  # fmt: skip
    task = house.queue.get_task(task_id)

    assert task.payload == {
        "prompt": "def f(",
        "suffix": "return",
        "template": "{{ .Prompt }}",
        "system": "be brief",
        "format": "json",
        "think": True,
    }
    assert task.priority == 7


def test_all_that_an_embed_takes(house):
    house.queue.pause()
    task_id = house.ok(
        "submit", "embed", "--model", "m", "--input", "one", "--input", "two", "--dimensions", "8"
    ).strip()

    assert house.queue.get_task(task_id).payload == {"input": ["one", "two"], "dimensions": 8}


def test_the_same_key_finds_the_same_task(house):
    house.queue.pause()
    first, second = (house.run(*CHAT, "user:a", "--idempotency-key", "k") for _ in range(2))
    third = house.run(*CHAT, "user:b", "--idempotency-key", "k")

    assert first.stdout == second.stdout
    assert second.stderr.startswith("Already submitted with this key: pending")
    assert third.exit_code == 4


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        (("chat", "--messages", "user:hello"), "Hello from here\n"),
        (("generate", "--prompt", "hello"), "Hello from here\n"),
        (("embed", "--input", "one", "--input", "two"), "2 vectors of 2 numbers\n"),
        (("embed", "--input", "one"), "1 vector of 2 numbers\n"),
    ],
)
def test_submit_and_wait_prints_the_answer(house, args, answer):
    result = house.run("submit", *args, "--model", "m", "--wait")

    [task] = house.queue.list_tasks()
    assert (result.exit_code, result.stdout) == (0, answer)
    assert result.stderr == f"Task {task.id}: waiting for it to end\n"


def test_submit_and_wait_as_json_is_the_whole_task(house):
    task = house.json("submit", "embed", "--model", "m", "--input", "one", "--wait", "--quiet")

    assert task["status"] == "completed"
    assert task["result"]["embeddings"] == [[3.0, 0.5]]


@pytest.mark.parametrize("form", ["table", "json"])
def test_submit_and_wait_for_a_task_that_fails(house, form):
    house.fake.script(Answer(400, {"error": "that is\nnothing"}))
    result = house.run("--output", form, *CHAT, "user:hello", "--wait", "--quiet")

    [task] = house.queue.list_tasks()
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: task {task.id} failed: ")
    assert "that is nothing" in result.stderr
    assert result.stderr.count("\n") == 1
    if form == "json":
        assert json.loads(result.stdout)["status"] == "failed"
    else:
        assert result.stdout == ""


def test_fallbacks_are_named_the_best_first_and_an_empty_name_is_none(house):
    house.queue.pause()
    asked = ("submit", "generate", "--model", "smollm2", "--prompt", "x")
    for options, models in (
        (("--fallback", "qwen3", "--fallback", "tiny"), ["qwen3", "tiny"]),
        (("--fallback", ""), []),
        ((), None),
    ):
        told = house.json(*asked, *options)
        assert house.queue.get_task(told["task_id"]).fallback_models == models
