"""A server whose wall clock is wrong, and is put right while it runs."""

import struct
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ollama_queue import Client, NewTask, Status, Task, generate_task
from tests.support.fakes.model_server import Answer, FakeOllama, Hang
from tests.support.servers.queue_server import QueueServer

SHIM = Path(__file__).with_name("clock_shim.c")
PATIENCE_S = 30.0
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
DAY, YEAR = timedelta(days=1), timedelta(days=365)
EVERY_MINUTE = {
    "name": "m",
    "cron_expr": "* * * * *",
    "task_template": {"type": "generate", "model": "m", "prompt": "hi"},
}


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shim") / "clock_shim.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", made, SHIM], check=True)
    return made


class WrongServer(QueueServer):
    """A queue server whose clock is as far ahead as the test says."""

    def __init__(self, folder: Path, model_url: str, shim: Path, *settings: str) -> None:
        super().__init__(folder, model_url, workers=1)
        self.shim, self.lead = shim, folder / "lead"
        self.config.write_text("\n".join([f"ollama: {{host: '{model_url}'}}", *settings]))
        self.set_clock(timedelta())

    def set_clock(self, ahead: timedelta) -> None:
        """Over the old bytes: the server has the file mapped."""
        self.lead.touch()
        with self.lead.open("r+b") as file:
            file.write(struct.pack("q", int(ahead.total_seconds())))

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "LD_PRELOAD": str(self.shim),
            "CLOCK_LEAD": str(self.lead),
        }


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    with FakeOllama() as made:
        yield made


def ask(**fields: Any) -> NewTask:
    return generate_task("m", "hi", **fields)


def now() -> datetime:
    return datetime.now(UTC)


def spans(task: Task) -> list[timedelta]:
    found = [ended.ended_at - ended.started_at for ended in task.attempts]
    if task.started_at and task.completed_at:
        found.append(task.completed_at - task.started_at)
    return found


@pytest.mark.parametrize("ahead", [2 * HOUR, YEAR])
def test_a_clock_that_was_ahead_is_put_right(
    fake: FakeOllama, tmp_path: Path, shim: Path, ahead: timedelta
) -> None:
    server = WrongServer(tmp_path, fake.url, shim, "retry_config: {initial_delay: 2s}")
    server.set_clock(ahead)
    server.start()
    try:
        client = server.client()
        cron = client.get_cron_task(client.add_cron_task(EVERY_MINUTE))
        assert cron.next_run is not None and cron.next_run > now() + ahead - HOUR
        first = client.wait(client.submit_task(ask()), timeout=PATIENCE_S)
        assert first.created_at > now() + ahead - HOUR
        fake.script(Answer(502, {"error": "try later"}))
        with closing(client.subscribe(["task_retrying", "cron_changed"])) as events:
            again = client.submit_task(ask())
            events.get(PATIENCE_S)
            server.set_clock(timedelta())
            later = client.submit_task(ask(scheduled_at=now() + HOUR))
            assert client.get_task(later).waiting_for == "schedule"
            client.list_cron_tasks()  # the ticker looks at the clock; by itself it does each 10 s
            tried = client.wait(again, timeout=PATIENCE_S)
            while events.get(PATIENCE_S).event != "cron_changed":
                pass

        cron = client.get_cron_task(cron.id)
        assert cron.next_run is not None and cron.next_run < now() + 2 * MINUTE
        assert [attempt.error is None for attempt in tried.attempts] == [False, True]
        last = client.wait(client.submit_task(ask()), timeout=PATIENCE_S)
        assert last.id > later > tried.id > first.id
        assert abs(last.created_at - now()) < HOUR
        assert client.get_task(later).status is Status.PENDING
        assert all(span >= timedelta() for task in (first, tried, last) for span in spans(task))
        waits = [minute.wait_mean_s for minute in client.get_history()]
        assert all(wait is None or wait >= 0 for wait in waits)
        assert "Traceback" not in server.log_text()
    finally:
        server.stop()


def test_what_became_late_while_the_server_was_down_expires_at_its_boot(
    fake: FakeOllama, tmp_path: Path, shim: Path
) -> None:
    """After a kill -9, with a task that ran, one that waited, and two that are in time."""
    server = WrongServer(tmp_path, fake.url, shim)
    server.start()
    client = server.client()
    fake.script(Hang())
    in_an_hour, tomorrow = now() + HOUR, now() + DAY
    ids = [client.submit_task(ask(deadline=in_an_hour))]
    fake.wait_for_calls(1)
    limits = ({"deadline": in_an_hour}, {"start_within": 3600}, {"deadline": tomorrow}, {})
    ids += [client.submit_task(ask(**limit)) for limit in limits]

    server.kill()
    server.set_clock(2 * HOUR)
    server.start()
    try:
        client = server.client()
        tasks = [client.wait(task_id, timeout=PATIENCE_S) for task_id in ids]
        assert [task.error_code for task in tasks] == ["expired"] * 3 + [None] * 2
        assert [task.status for task in tasks] == [Status.FAILED] * 3 + [Status.COMPLETED] * 2
        assert [task.attempt for task in tasks] == [1, 0, 0, 1, 1]
        assert tasks[0].interruptions == 1
        assert len(fake.calls) == 3
    finally:
        server.stop()


def test_a_start_a_month_ahead_deletes_nothing_for_its_age(
    fake: FakeOllama, tmp_path: Path, shim: Path
) -> None:
    server = WrongServer(tmp_path, fake.url, shim, "queue: {max_completed_tasks: 1}")
    server.start()
    client = server.client()
    ids = [client.submit_task(ask()) for _ in range(2)]
    for task_id in ids:
        client.wait(task_id, timeout=PATIENCE_S)
    server.stop()

    server.set_clock(30 * DAY)
    server.start()
    try:
        client = server.client()
        with closing(client.subscribe(["task_deleted"])) as events:
            if ids[0] in stored(client):  # one is too many: this shows that it was swept
                assert events.get(PATIENCE_S).task.id == ids[0]
        assert stored(client) == [ids[1]]
    finally:
        server.stop()


def stored(client: Client) -> list[Any]:
    return [task.id for task in client.list_tasks()]


@pytest.mark.parametrize("ahead", [2 * HOUR, YEAR])
def test_a_clock_that_was_ahead_is_put_right_between_two_runs(
    fake: FakeOllama, tmp_path: Path, shim: Path, ahead: timedelta
) -> None:
    server = WrongServer(tmp_path, fake.url, shim, "retry_config: {initial_delay: 5s}")
    server.set_clock(ahead)
    server.start()
    client = server.client()
    cron_id = client.add_cron_task(EVERY_MINUTE)
    done = client.wait(client.submit_task(ask()), timeout=PATIENCE_S)
    fake.script(Answer(502, {"error": "try later"}))
    with closing(client.subscribe(["task_retrying"])) as events:
        retrying = client.submit_task(ask())
        events.get(PATIENCE_S)
    client.pause()
    waiting = [client.submit_task(ask(priority=priority)) for priority in (5, 5, 9)]
    soon = client.submit_task(ask(scheduled_at=now() + ahead + MINUTE))
    server.stop()

    server.set_clock(timedelta())
    server.start()
    try:
        client = server.client()
        cron = client.get_cron_task(cron_id)
        assert cron.next_run is not None and cron.next_run < now() + 2 * MINUTE
        due = client.get_task(soon).scheduled_at
        assert due is not None and due > now() + ahead - HOUR, "the time that was asked for stays"
        client.resume()
        ended = [client.wait(task_id, timeout=PATIENCE_S) for task_id in waiting]
        high, first, second = ended[2], ended[0], ended[1]
        assert high.started_at and first.started_at and second.started_at
        assert high.started_at <= first.started_at <= second.started_at < now() + MINUTE
        new = client.wait(client.submit_task(ask()), timeout=PATIENCE_S)
        assert new.id > second.id > done.id, "ids never go back"
        assert all(span >= timedelta() for task in (*ended, new) for span in spans(task))
        assert all(wait >= 0 for wait in waits(client))
        assert client.get_task(soon).waiting_for == "schedule"
        tried = client.wait(retrying, timeout=PATIENCE_S)
        assert [attempt.error is None for attempt in tried.attempts] == [False, True]
        assert "Traceback" not in server.log_text()
    finally:
        server.stop()


def waits(client: Client) -> list[float]:
    return [p.wait_mean_s for p in client.get_history() if p.wait_mean_s is not None]
