"""The commands that look at tasks and change them, for people and for programs."""

import json

import pytest

from ollama_queue import __version__
from ollama_queue.actors.core.intake.submission import chat_task, embed_task, generate_task
from ollama_queue.actors.core.model.tasks import Status
from ollama_queue.cli.terminal.filter_options import STATUSES
from tests.support.fakes.model_server import Answer, Hang
from tests.support.harness.cli import CliHarness


@pytest.fixture
def house(tmp_path):
    with CliHarness(tmp_path) as house:
        yield house


# --- list and status ------------------------------------------------------------------------------


def test_list_has_a_line_for_each_task(house):
    house.queue.pause()
    ids = [house.submitted(words) for words in ("first", "second\nline")]
    heading, second, first = house.ok("list").splitlines()

    assert heading.split() == [
        "ID",
        "STATUS",
        "PRIO",
        "TYPE",
        "MODEL",
        "CREATED",
        "STARTS",
        "TITLE",
    ]
    assert first.split()[:5] == [ids[0], "pending", "5", "chat", "m"]
    assert second.split()[0] == ids[1]
    assert second.endswith("second line")
    assert heading.index("TITLE") == first.index("first")


def test_list_filters(house):
    done = house.ended()
    house.queue.pause()
    first, second, third = (house.submitted() for _ in range(3))

    def listed(*args):
        return [task["id"] for task in house.json("list", *args)]

    assert listed() == [third, second, first, done]
    assert listed("--limit", "2", "--offset", "1") == [second, first]
    assert listed("--status", "completed") == [done]
    assert len(listed("--status", "completed", "--status", "pending")) == 4


def test_an_empty_list(house):
    result = house.run("list")

    assert (result.stdout, result.stderr) == ("", "No tasks.\n")
    assert house.json("list") == []
    assert house.run("list", "--quiet").stderr == ""


def test_list_knows_each_status():
    assert tuple(Status) == STATUSES


def test_status_of_a_task(house):
    house.queue.pause()
    task_id = house.submitted("what is up?", tags=["a", "b"])
    lines = dict(line.split(":", 1) for line in house.ok("status", task_id).splitlines())
    facts = {name: value.strip() for name, value in lines.items()}

    assert facts.pop("created").endswith("Z")
    assert facts == {
        "id": task_id,
        "status": "pending (paused)",
        "position": "0",
        "type": "chat",
        "model": "m",
        "priority": "5",
        "title": "what is up?",
        "tags": "a, b",
        "attempts": "0",
        "retries": "0 of 3",
    }
    assert house.json("status", task_id)["payload"]["messages"][0]["content"] == "what is up?"


def test_status_of_the_queue(house):
    house.ended()
    house.queue.pause()
    house.submitted()
    facts = dict(line.split(":", 1) for line in house.ok("status").splitlines())

    assert {
        name: facts[name].strip() for name in ("pending", "completed", "waiting", "paused")
    } == {
        "pending": "1",
        "completed": "1",
        "waiting": "1 for paused",
        "paused": "yes",
    }
    assert facts["backend ollama"].strip() == "0 of 1 running, healthy"
    assert facts["up"].strip().endswith(f" s, version {__version__}")
    assert house.json("status")["total_tasks"] == 2


# --- result ---------------------------------------------------------------------------------------


def test_result_prints_the_answer(house):
    task_id = house.ended()

    assert house.ok("result", task_id) == "Hello from here\n"
    assert house.json("result", task_id)["message"]["content"] == "Hello from here"


@pytest.mark.parametrize("verb", ["result", "stream"])
def test_answers_in_openais_dialect_are_read_out_as_well(house, verb):
    asked = [
        chat_task("m", [{"role": "user", "content": "hi"}], dialect="openai"),
        generate_task("m", "hi", dialect="openai"),
    ]
    for new in asked:
        task_id = house.queue.submit_task(new)
        house.queue.wait(task_id, timeout=5)

        assert house.ok(verb, task_id) == "Hello from here\n"


@pytest.mark.parametrize("vector", [[0.5, 1.0, 2.0], "AAAAPwAAgD8AAABA"])
def test_embeddings_in_openais_dialect_are_counted(house, vector):
    house.fake.script(Answer(body={"data": [{"embedding": vector}]}))
    task_id = house.queue.submit_task(embed_task("m", "hi", dialect="openai"))
    house.queue.wait(task_id, timeout=5)

    assert house.ok("result", task_id) == "1 vector of 3 numbers\n"


def test_result_of_a_task_that_has_not_ended(house):
    house.queue.pause()
    task_id = house.submitted()
    result = house.run("result", task_id)

    assert (result.exit_code, result.stdout) == (4, "")
    assert (
        result.stderr
        == f"Error: task {task_id} has not ended, it is pending: ollama-queue wait {task_id}\n"
    )


def test_result_of_a_task_that_failed_or_was_cancelled(house):
    house.fake.script(Answer(400, {"error": "no"}))
    failed = house.run("result", house.ended())
    house.queue.pause()
    task_id = house.submitted()
    house.queue.cancel_task(task_id)
    cancelled = house.run("result", task_id, "--output", "json")

    assert (failed.exit_code, failed.stdout) == (1, "")
    assert (cancelled.exit_code, cancelled.stdout) == (1, "")
    assert cancelled.stderr == f"Error: task {task_id} was cancelled\n"


# --- what changes tasks ---------------------------------------------------------------------------


def test_cancel_does_each_and_reports_each(house):
    house.fake.default = Hang()
    done, running, pending = "gone", house.submitted(), house.submitted()
    house.fake.wait_for_calls(1)
    result = house.run("cancel", done, running, pending)

    assert result.stdout == f"{running}  cancelled\n{pending}  cancelled\n"
    assert result.stderr.startswith("Error: ")
    assert result.exit_code == 3
    again = house.run("cancel", running, done)
    assert (again.exit_code, again.stderr.count("Error: ")) == (4, 2)


def test_several_ids_are_one_json_array(house):
    house.queue.pause()
    first, second, third = (house.submitted() for _ in range(3))

    assert [task["status"] for task in house.json("cancel", first, second)] == ["cancelled"] * 2
    result = house.run("cancel", "nobody", first, third, "--output", "json")
    assert (result.exit_code, len(result.stderr.splitlines())) == (3, 2)
    assert [task["id"] for task in json.loads(result.stdout)] == [third]
    result = house.run("wait", first, second, "--output", "json")
    assert [task["id"] for task in json.loads(result.stdout)] == [first, second]
    result = house.run("delete", "nobody", "no one", "--output", "json")
    assert (result.exit_code, json.loads(result.stdout)) == (3, [])
    assert house.json("retry", first)["id"] == first


def test_retry_and_delete(house):
    house.fake.script(Answer(400, {"error": "no"}))
    failed, done = house.ended(), house.ended()

    house.queue.pause()
    assert house.ok("retry", failed) == f"{failed}  pending\n"
    house.queue.resume()
    house.queue.wait(failed, timeout=5)
    assert house.run("retry", done, failed).exit_code == 4
    assert house.ok("delete", done, failed) == f"{done}  completed\n{failed}  completed\n"
    assert house.run("delete", done).exit_code == 3


def test_priority(house):
    house.queue.pause()
    task_id = house.submitted()

    assert house.ok("priority", task_id, "high") == f"{task_id}  pending  priority 10\n"
    assert house.ok("priority", task_id, "3") == f"{task_id}  pending  priority 3\n"
    assert house.json("priority", task_id, "critical")["priority"] == 15
    assert house.run("priority", task_id, "urgent").exit_code == 2


def test_pause_and_resume(house):
    paused = house.run("pause")
    assert paused.stdout == ""
    assert paused.stderr.startswith("Paused: ")
    assert house.queue.get_queue_stats().paused
    assert house.run("resume").stderr == "Resumed.\n"
    assert not house.queue.get_queue_stats().paused
    assert house.json("pause") == {"paused": True}
    assert house.json("resume") == {"paused": False}
