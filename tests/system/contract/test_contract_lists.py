"""Lists by every field, in pages, over `QueueManager` and over `Client`."""

from datetime import timedelta
from typing import Any

import pytest

from ollama_queue import Invalid, Status, TaskFilter
from ollama_queue.actors.api.queue_api import QueueAPI
from tests.support.harness.doors import Door, ask, in_this_process


def ids(queue: QueueAPI, filter: Any = None) -> list[str]:
    return [task.id for task in queue.list_tasks(filter)]


def test_a_list_by_each_field(door: Door) -> None:
    door.queue.pause()
    plain = door.queue.submit_task(ask("the sky"))
    tagged = door.queue.submit_task(ask(tags=["größe", "b&c"], priority="high"))
    foreign = door.queue.submit_task(ask(tenant="acme"))
    (batched,) = door.queue.submit_batch([ask()]).task_ids
    batch_id = door.queue.get_task(batched).batch_id

    for wanted, expected in [
        ({"status": "pending"}, [batched, foreign, tagged, plain]),
        ({"type": "generate", "model": "smollm2:latest"}, [batched, foreign, tagged, plain]),
        ({"type": "chat"}, []),
        ({"priority": "high"}, [tagged]),
        ({"priority": [5, 10], "tenant": "acme"}, [foreign]),
        ({"batch_id": batch_id}, [batched]),
        ({"cron_id": batch_id}, []),
        ({"tag": ["größe", "other"]}, [tagged]),
        ({"tag": "b&c"}, [tagged]),
        ({"q": "SKY"}, [plain]),
        ({"q": "GRÖSSE"}, [tagged]),
        ({"sort": "priority"}, [tagged, batched, foreign, plain]),
        ({"sort": "started"}, []),
    ]:
        assert ids(door.queue, wanted) == expected, wanted


def test_a_list_by_time(door: Door) -> None:
    door.queue.pause()
    tasks = [door.queue.get_task(door.queue.submit_task(ask())) for _ in range(3)]
    first, second, third = tasks
    assert ids(door.queue, TaskFilter(since=second.created_at)) == [third.id, second.id]
    assert ids(door.queue, TaskFilter(until=second.created_at)) == [first.id]
    later = third.created_at + timedelta(seconds=1)
    assert ids(door.queue, {"since": later.isoformat()}) == []


def test_ended_tasks_by_the_order_of_their_ends(door: Door) -> None:
    done = door.run(ask()).id
    running = door.busy()
    waiting = [door.queue.submit_task(ask()) for _ in range(2)]
    for task_id in waiting[::-1]:
        door.queue.cancel_task(task_id)

    assert ids(door.queue, {"sort": "ended"}) == [*waiting, done]
    assert ids(door.queue, {"sort": "ended", "status": "completed"}) == [done]
    assert ids(door.queue, {"sort": "started"}) == [running, done]


def test_pages_follow_each_other(door: Door) -> None:
    door.queue.pause()
    made = [door.queue.submit_task(ask(tags=["even"] if n % 2 else [])) for n in range(7)][::-1]
    wanted: dict[str, Any] = {"limit": 3}
    found = []
    while True:
        page = door.queue.list_page(wanted)
        found.append([task.id for task in page.tasks])
        assert page.total == 7
        if page.cursor is None:
            break
        door.queue.submit_task(ask())  # newer: no page is shifted by it
        door.queue.cancel_task(door.queue.list_tasks({"limit": 1})[0].id)
        door.queue.delete_task(door.queue.list_tasks({"limit": 1})[0].id)
        wanted["cursor"] = page.cursor
    assert found == [made[:3], made[3:6], made[6:]]


@in_this_process
def test_a_search_goes_on_until_the_list_is_full(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ollama_queue.actors.store.page_reader.FEW", 2)
    door.queue.pause()
    made = [door.queue.submit_task(ask(tags=["x"] if n % 4 == 0 else [])) for n in range(12)]

    page = door.queue.list_page({"tag": "x", "limit": 2})
    assert (page.tasks, page.total) == ([], None)
    assert page.cursor is not None
    assert ids(door.queue, {"tag": "x", "limit": 2}) == [made[8], made[4]]
    assert ids(door.queue, {"tag": "x", "offset": 2}) == [made[0]]
    assert ids(door.queue, {"tag": "y"}) == []


def test_totals_by_status_or_batch(door: Door) -> None:
    door.queue.pause()
    door.queue.submit_task(ask())
    made = door.queue.submit_batch([ask()] * 3)
    door.queue.cancel_task(made.task_ids[0])
    door.queue.delete_task(made.task_ids[0])

    def total(**wanted: Any) -> int | None:
        return door.queue.list_page(wanted).total

    assert (total(limit=1), total(status=["pending", "failed"])) == (3, 3)
    assert (total(batch_id=made.batch_id), total(q="hi")) == (2, None)


def test_payload_and_result_only_when_asked_for(door: Door) -> None:
    done = door.run(ask("why", options={"seed": 1}, metadata={"a": 1}))

    (task,) = door.queue.list_tasks({"include": ["payload", "result"]})
    assert (task.payload, task.options, task.metadata) == ({"prompt": "why"}, {"seed": 1}, {"a": 1})
    assert task.result == done.result
    (light,) = door.queue.list_tasks({"include": "result"})
    assert (light.payload, light.result) == (None, done.result)


def test_what_cannot_be_listed_is_invalid(queue: QueueAPI) -> None:
    for wanted, field in [
        ({"state": "x"}, "state"),
        ({"status": "x"}, "status"),
        ({"cursor": "x"}, "cursor"),
        (TaskFilter(cursor="created.0.ab", offset=1), "offset"),
        ({"since": "x"}, "since"),
    ]:
        for verb in (queue.list_page, queue.list_tasks):
            with pytest.raises(Invalid) as refused:
                verb(wanted)
            assert refused.value.field == field


def test_a_filter_by_status_is_kept_while_tasks_change(door: Door) -> None:
    door.queue.pause()
    made = [door.queue.submit_task(ask()) for _ in range(3)]
    door.queue.update_task_priority(made[0], "critical")
    door.queue.cancel_task(made[1])
    door.queue.cancel_task(made[2])
    door.queue.retry_task(made[2])

    assert ids(door.queue, {"status": Status.PENDING}) == [made[2], made[0]]
    assert ids(door.queue, {"sort": "priority", "status": "pending"}) == [made[0], made[2]]
    assert ids(door.queue, {"sort": "ended"}) == [made[1]]
