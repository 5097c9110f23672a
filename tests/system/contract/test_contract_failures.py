"""Failed tasks by cause, on all three interfaces: what is listed, and what a group selects."""

import pytest

from ollama_queue import Invalid, Status, generate_task
from tests.support.fakes.model_server import Answer
from tests.support.harness.doors import Door

PATIENCE_S = 30.0


def fail(door: Door, error: str, **fields: str) -> str:
    door.fake.script(Answer(400, {"error": error}))
    task_id = door.queue.submit_task(generate_task("smollm2", "hi", **fields))
    assert door.queue.wait(task_id, timeout=PATIENCE_S).status is Status.FAILED
    return task_id


def test_failures_are_grouped_by_cause(door: Door) -> None:
    queue = door.queue
    assert queue.list_failures() == []
    ids = [fail(door, f"option {n} is wrong") for n in range(3)]
    other = fail(door, "no such image")

    large, small = queue.list_failures()

    assert (large.count, large.code, large.backend) == (3, "400", "ollama")
    assert "option # is wrong" in large.words
    assert "option 2 is wrong" in large.latest_error
    assert large.examples == ids[::-1]
    assert large.first_at < large.last_at
    assert (small.count, small.examples) == (1, [other])
    assert small.first_at == small.last_at
    assert queue.list_failures(1) == [large]


def test_a_group_selects_its_tasks(door: Door) -> None:
    queue = door.queue
    ids = [fail(door, f"option {n} is wrong") for n in range(3)]
    other = fail(door, "no such image")
    large, small = (group.id for group in queue.list_failures())

    assert [task.id for task in queue.list_tasks({"failure": large})] == ids[::-1]
    assert [task.id for task in queue.list_tasks({"failure": [large, small]})] == [
        other,
        *ids[::-1],
    ]
    assert list(queue.list_tasks({"failure": large, "status": "completed"})) == []
    assert queue.retry_tasks(filter={"failure": large}).done == 3
    for task_id in ids:
        assert queue.wait(task_id, timeout=PATIENCE_S).status is Status.COMPLETED
    (group,) = queue.list_failures()
    assert group.id == small
    assert queue.delete_tasks(filter={"failure": small}).done == 1
    assert queue.list_failures() == []
    assert fail(door, "no such image") and queue.list_failures()[0].id == small


def test_of_one_tenant(door: Door) -> None:
    fail(door, "no", tenant="a")
    fail(door, "no", tenant="b")
    assert [group.count for group in door.queue.list_failures()] == [2]
    assert [group.count for group in door.queue.list_failures(tenant="a")] == [1]
    assert door.queue.list_failures(tenant="c") == []


def test_wrong_arguments_are_named(door: Door) -> None:
    with pytest.raises(Invalid, match="limit"):
        door.queue.list_failures(0)
    with pytest.raises(Invalid, match="failure must be the id of a group of failures"):
        door.queue.list_tasks({"failure": "other"})
