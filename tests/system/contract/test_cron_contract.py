"""The verbs of crons, each over `QueueManager` and over `Client`."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ollama_queue import (
    Conflict,
    Invalid,
    NewCron,
    NotFound,
    Overlap,
    Status,
    TaskTemplate,
    TaskType,
    Unavailable,
)
from ollama_queue.actors.api.queue_api import QueueAPI
from tests.support.harness.doors import NOBODY, PATIENCE_S, Door, EmbeddedDoor, in_this_process
from tests.support.servers.real_models import ROOT

PLAIN: dict[str, Any] = {
    "name": "Report",
    "cron_expr": "0 0 1 1 *",  # not while this test runs, one hopes
    "task_template": {"type": "generate", "model": "smollm2", "prompt": "report"},
    "metadata": {"department": "analytics"},
}

WITH_AN_ID: list[Callable[[QueueAPI, str], Any]] = [
    lambda queue, cron_id: queue.get_cron_task(cron_id),
    lambda queue, cron_id: queue.update_cron_task(cron_id, {"name": "x"}),
    lambda queue, cron_id: queue.enable_cron_task(cron_id),
    lambda queue, cron_id: queue.disable_cron_task(cron_id),
    lambda queue, cron_id: queue.run_cron_task(cron_id),
    lambda queue, cron_id: queue.remove_cron_task(cron_id),
]


def test_a_cron_is_shown_as_it_was_added(queue: QueueAPI) -> None:
    before = datetime.now(UTC)
    cron_id = queue.add_cron_task(PLAIN)

    cron = queue.get_cron_task(cron_id)

    assert (cron.id, cron.name, cron.cron_expr) == (cron_id, "Report", "0 0 1 1 *")
    assert (cron.enabled, cron.timezone, cron.metadata) == (True, "UTC", PLAIN["metadata"])
    assert cron.task_template.payload == {"prompt": "report"}
    assert cron.next_run is not None
    assert (cron.next_run.month, cron.next_run.day) == (1, 1)
    assert (cron.last_run, cron.run_count) == (None, 0)
    assert before <= cron.created_at == cron.updated_at <= datetime.now(UTC)
    assert queue.list_cron_tasks() == [cron]


def test_a_record_may_be_added_too(queue: QueueAPI) -> None:
    template = TaskTemplate(type=TaskType.EMBED, model="m", payload={"input": "x"})
    new = NewCron(name="N", cron_expr="@yearly", task_template=template, overlap=Overlap.SKIP)

    cron = queue.get_cron_task(queue.add_cron_task(new))

    assert (cron.task_template, cron.overlap) == (template, Overlap.SKIP)


def test_they_are_listed_the_oldest_first(queue: QueueAPI) -> None:
    ids = [queue.add_cron_task({**PLAIN, "name": name}) for name in "abc"]
    assert [cron.id for cron in queue.list_cron_tasks()] == ids


def test_a_cron_changes(queue: QueueAPI) -> None:
    cron_id = queue.add_cron_task(PLAIN)
    old = queue.get_cron_task(cron_id)

    new = queue.update_cron_task(
        cron_id, {"cron_expr": "0 0 2 1 *", "task_template": {"priority": "high"}}
    )

    assert old.next_run is not None
    assert new.next_run == old.next_run + timedelta(days=1)
    assert (new.task_template.priority, new.task_template.model) == (10, "smollm2")
    assert queue.get_cron_task(cron_id) == new
    back = queue.update_cron_task(cron_id, old)
    assert (back.cron_expr, back.next_run, back.task_template) == (
        old.cron_expr,
        old.next_run,
        old.task_template,
    )


def test_a_cron_is_switched_off_and_on(queue: QueueAPI) -> None:
    cron_id = queue.add_cron_task(PLAIN)

    assert queue.disable_cron_task(cron_id).next_run is None
    assert not queue.get_cron_task(cron_id).enabled
    assert queue.enable_cron_task(cron_id).next_run is not None


def test_a_removed_cron_is_gone_and_its_tasks_stay(door: Door) -> None:
    queue = door.queue
    cron_id = queue.add_cron_task(PLAIN)
    task_id = queue.run_cron_task(cron_id).task_id

    assert queue.remove_cron_task(cron_id).id == cron_id

    assert queue.list_cron_tasks() == []
    assert queue.wait(task_id, timeout=PATIENCE_S).status is Status.COMPLETED
    for verb in WITH_AN_ID:
        with pytest.raises(NotFound):
            verb(queue, cron_id)


def test_a_run_by_hand_is_a_task_like_any_other(door: Door) -> None:
    queue = door.queue
    cron_id = queue.add_cron_task({**PLAIN, "enabled": False})

    submitted = queue.run_cron_task(cron_id)

    task = queue.wait(submitted.task_id, timeout=PATIENCE_S)
    assert (task.status, task.cron_id, task.title) == (Status.COMPLETED, cron_id, "report")
    assert task.metadata == {"cron_name": "Report", "cron_run_count": 1}
    cron = queue.get_cron_task(cron_id)
    assert (cron.run_count, cron.last_run, cron.next_run) == (1, task.created_at, None)


def test_a_run_by_hand_may_be_refused(door: Door) -> None:
    queue = door.queue
    cron_id = queue.add_cron_task({**PLAIN, "overlap": "skip"})
    door.busy()
    queue.run_cron_task(cron_id)

    with pytest.raises(Conflict, match="may not overlap"):
        queue.run_cron_task(cron_id)

    assert queue.get_cron_task(cron_id).run_count == 1


def test_a_program_that_starts_twice_has_one_cron(queue: QueueAPI) -> None:
    first = queue.add_cron_task(PLAIN, if_exists="update")
    again = queue.add_cron_task({**PLAIN, "cron_expr": "@monthly"}, if_exists="update")
    kept = queue.add_cron_task(PLAIN, if_exists="keep")

    assert first == again == kept
    (cron,) = queue.list_cron_tasks()
    assert cron.cron_expr == "@monthly"
    with pytest.raises(Conflict, match=first):
        queue.add_cron_task(PLAIN, if_exists="error")
    assert queue.add_cron_task(PLAIN) != first


def test_a_record_says_whether_it_is_switched_on_and_a_mapping_may_leave_it(
    queue: QueueAPI,
) -> None:
    cron_id = queue.add_cron_task(PLAIN, if_exists="update")
    queue.disable_cron_task(cron_id)
    template = TaskTemplate(type=TaskType.EMBED, model="m", payload={"input": "x"})

    queue.add_cron_task(PLAIN, if_exists="update")
    assert not queue.get_cron_task(cron_id).enabled
    record = NewCron(name=PLAIN["name"], cron_expr="@daily", task_template=template)
    queue.add_cron_task(record, if_exists="update")
    assert queue.get_cron_task(cron_id).enabled


@pytest.mark.parametrize("what", ["keep", "update"])
def test_of_many_that_ask_at_once_one_adds_it(door: Door, what: Any) -> None:
    feed = door.direct.subscribe({"cron_changed"})
    with ThreadPoolExecutor(8) as pool:
        add = partial(door.queue.add_cron_task, PLAIN, if_exists=what)
        ids = {each.result() for each in [pool.submit(add) for _ in range(32)]}

    assert [cron.id for cron in door.queue.list_cron_tasks()] == list(ids)
    door.queue.remove_cron_task(*ids)
    assert [feed.get(PATIENCE_S).cron_id for _ in range(2)] == list(ids) * 2


def test_a_wrong_if_exists_is_refused(queue: QueueAPI) -> None:
    wrong: Any = "replace"
    with pytest.raises(Invalid, match="if_exists must be one of") as refused:
        queue.add_cron_task(PLAIN, if_exists=wrong)
    assert refused.value.field == "if_exists"
    assert queue.list_cron_tasks() == []


def test_mistakes_are_refused(queue: QueueAPI) -> None:
    cron_id = queue.add_cron_task(PLAIN)
    for wrong, field in (
        ({**PLAIN, "cron_expr": "61 * * * *"}, "cron_expr"),
        ({**PLAIN, "task_template": {"type": "chat"}}, "task_template.model"),
        ({**PLAIN, "timezone": "x"}, "timezone"),
        ({}, "name"),
    ):
        with pytest.raises(Invalid) as refused:
            queue.add_cron_task(wrong)
        assert refused.value.field == field
    with pytest.raises(Invalid, match="color is not a field"):
        queue.update_cron_task(cron_id, {"color": "red"})
    with pytest.raises(Invalid):
        queue.add_cron_task({**PLAIN, "metadata": {"x": object()}})
    assert len(queue.list_cron_tasks()) == 1


@pytest.mark.parametrize("verb", WITH_AN_ID)
@pytest.mark.parametrize("cron_id", [NOBODY, "a/b", "%2F", "ünknown"])
def test_an_unknown_id_is_not_found(
    queue: QueueAPI, verb: Callable[[QueueAPI, str], Any], cron_id: str
) -> None:
    # httpx's WSGITransport passes characters on where WSGI has bytes.
    refusals = NotFound if cron_id.isascii() else (NotFound, Invalid)
    with pytest.raises(refusals):
        verb(queue, cron_id)


@in_this_process
def test_a_stopped_queue_is_unavailable(door: EmbeddedDoor) -> None:
    door.manager.close(grace_s=0)
    for verb in (
        door.queue.list_cron_tasks,
        lambda: door.queue.add_cron_task(PLAIN),
        *(lambda verb=verb: verb(door.queue, NOBODY) for verb in WITH_AN_ID),
    ):
        with pytest.raises(Unavailable):
            verb()


@in_this_process
def test_crons_outlive_a_restart(door: EmbeddedDoor) -> None:
    cron_id = door.queue.add_cron_task(PLAIN)
    door.queue.run_cron_task(cron_id)
    before = door.queue.get_cron_task(cron_id)

    door.manager.close(grace_s=0)
    door.manager.start()

    assert door.queue.list_cron_tasks() == [before]


def test_a_queue_without_crons_does_not_load_croniter(tmp_path: Path) -> None:
    program = f"""
import sys
from ollama_queue import QueueManager
with QueueManager(storage_path={str(tmp_path / "data")!r}) as queue:
    print(queue.list_cron_tasks(), "croniter" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[] False\n"


def test_a_change_of_a_cron_is_an_event(door: Door) -> None:
    feed = door.direct.subscribe({"cron_changed"})
    cron_id = door.queue.add_cron_task(PLAIN)
    door.queue.disable_cron_task(cron_id)
    door.queue.remove_cron_task(cron_id)

    assert [feed.get(PATIENCE_S).cron_id for _ in range(3)] == [cron_id] * 3


def test_the_fields_of_its_template_come_to_its_task(queue: QueueAPI) -> None:
    template = {"type": "generate", "model": "m", "prompt": "hi", "start_within": 60.0}
    given = {"fallback_models": ["smollm2"], "callback_url": "https://app.example.com/hook"}
    cron_id = queue.add_cron_task(
        {"name": "a", "cron_expr": "0 0 1 1 *", "task_template": template | given}
    )
    task = queue.get_task(queue.run_cron_task(cron_id))
    assert {name: getattr(task, name) for name in given} == given
    assert task.start_within == 60.0
