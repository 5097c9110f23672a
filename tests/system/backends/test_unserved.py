"""Bad tasks and tired servers: who is out, what waits for whom, and how all doors say it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_queue import Client, Status
from tests.support.blocking_client import AppServer
from tests.support.fakes.model_server import Answer, Hang
from tests.support.harness.backends import Fleet, ask


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path, gpu1={"parallel": 2}) as found:
        yield found.found()


def test_bad_tasks_do_not_take_a_server_from_the_good_ones(fleet: Fleet) -> None:
    news = fleet.queue.subscribe(["backend_changed"])
    fleet["gpu1"].default = lambda body: (
        Answer(500, {"error": f"cannot do {body['prompt']}"})
        if body["prompt"].startswith("bad")
        else Answer(body={"model": "m", "response": "hi", "done": True})
    )

    bad = [fleet.queue.submit_task(ask(f"bad {n}", max_retries=1)) for n in range(20)]
    good = [fleet.queue.submit_task(ask(f"good {n}", max_retries=0)) for n in range(20)]

    assert {fleet.ended(task_id).status for task_id in bad} == {Status.FAILED}
    assert {fleet.ended(task_id).status for task_id in good} == {Status.COMPLETED}
    news.close()
    assert list(news) == []
    assert fleet.state("gpu1").healthy


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_rests_says_so_and_resume_wakes_it(fleet: Fleet, status: int) -> None:
    fleet["gpu1"].script(Answer(status, {"error": "slow down"}, {"Retry-After": "7200"}))
    first = fleet.queue.submit_task(ask())
    fleet.until(lambda: fleet.state("gpu1").resting_s is not None)
    fleet.queue.cancel_task(first)
    task_id = fleet.queue.submit_task(ask())
    assert fleet.queue.get_task(task_id).waiting_for == "backend"

    (state,) = fleet.queue.list_backends()
    assert state.resting_s is not None and 290 < state.resting_s <= 300
    (said,) = fleet.queue.get_queue_stats().unserved
    assert (said.model, said.tasks) == ("m", 1)
    assert said.reason in ("gpu1 is resting 300 s", "gpu1 is resting 299 s")

    assert fleet.queue.resume_backend("gpu1").resting_s is None
    assert fleet.ended(task_id).status is Status.COMPLETED


@pytest.mark.parametrize("kind", ["QueueManager", "Client"])
def test_what_waits_for_a_backend_can_be_listed(tmp_path: Path, kind: str) -> None:
    with Fleet(tmp_path, gpu1={"parallel": 1}) as fleet:
        app = AppServer.of(fleet.queue)
        queue = fleet.queue if kind == "QueueManager" else Client(app.url)
        fleet.found()
        fleet["gpu1"].script(Hang())
        running = fleet.queue.submit_task(ask())
        fleet["gpu1"].wait_for_calls(1)
        lost = [fleet.queue.submit_task(ask(model="nope")) for _ in range(3)]
        other = fleet.queue.submit_task(ask(model="other"))
        ready = [fleet.queue.submit_task(ask()) for _ in range(3)]
        later = fleet.queue.submit_task(ask(scheduled_at="2099-01-01T00:00:00Z"))

        def ids(**wanted: object) -> list[str]:
            return [task.id for task in queue.list_tasks(wanted)]

        assert ids(waiting_for="backend") == [other, *lost[::-1]]
        assert ids(waiting_for="backend", model="nope") == lost[::-1]
        assert ids(waiting_for="backend", model="m") == []
        assert ids(waiting_for=["slot", "schedule"]) == [later, *ready[::-1]]
        assert ids(waiting_for="slot", status="running") == []
        assert running not in ids(waiting_for=["slot", "backend", "schedule", "retry", "paused"])
        first = queue.list_page({"waiting_for": "backend", "limit": 2})
        assert (len(first.tasks), first.total) == (2, 4)
        rest = queue.list_page({"waiting_for": "backend", "limit": 2, "cursor": first.cursor})
        assert [task.id for task in first.tasks + rest.tasks] == [other, *lost[::-1]]
        assert {task.waiting_for for task in rest.tasks} == {"backend"}

        stats = queue.get_queue_stats()
        assert [(one.model, one.tasks, one.reason) for one in stats.unserved] == [
            ("nope", 3, "no server has it"),
            ("other", 1, "no server has it"),
        ]
        queue.pause()
        assert len(ids(waiting_for="paused")) == 8
        assert ids(waiting_for="backend") == []
        assert queue.get_queue_stats().unserved == []
        app.end()


def test_pages_of_a_rare_reason_are_put_together(fleet: Fleet) -> None:
    fleet["gpu1"].script(Hang(), Hang())
    ids = fleet.queue.submit_batch(
        [ask(model="nope"), *(ask() for _ in range(2600)), ask(model="nope")]
    ).task_ids

    found = fleet.queue.list_tasks({"waiting_for": "backend", "limit": 5})

    assert [task.id for task in found] == [ids[-1], ids[0]]
