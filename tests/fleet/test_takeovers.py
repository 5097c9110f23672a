"""Another server goes on when the one that leads is killed, stopped, cut off or shut down."""

import threading
from collections.abc import Iterator
from time import monotonic

import httpx
import pytest

from ollama_queue import Client, Status, chat_task
from ollama_queue import generate_task as generate
from tests.support.fakes.behaviours import Hang, Stream
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.fleet import PATIENCE_S, TTL_S, ServersOfQueue, check_ends
from tests.support.servers.postgres import PostgresServer

BOOT_S = 6.0  # generous: on a busy machine


@pytest.fixture
def client(fleet: ServersOfQueue) -> Iterator[Client]:
    """Of a server that follows."""
    with fleet.ready(fleet.followers()[0]) as made:
        yield made


def check_completed(fleet: ServersOfQueue, client: Client, ids: list[str]) -> None:
    """Each of these tasks completes, and no task has two ends."""
    for task_id in ids:
        assert client.wait(task_id, timeout=PATIENCE_S).status is Status.COMPLETED
    check_ends(fleet.versions())


def test_a_killed_leader_is_followed_within_the_ttl(fleet: ServersOfQueue, client: Client) -> None:
    before = client.submit_task(generate("m", "before"))
    old = fleet.leader()

    killed_at = monotonic()
    old.kill()
    after = client.submit_task(generate("m", "after"))
    took_s = monotonic() - killed_at

    assert took_s < TTL_S + BOOT_S
    assert fleet.leader() is not old
    for task_id in (before, after):
        assert client.wait(task_id, timeout=PATIENCE_S).status is Status.COMPLETED
    check_ends(fleet.versions())

    old.start()
    with fleet.ready(old) as again:
        assert again.get_task(before).status is Status.COMPLETED


def test_a_running_task_runs_again_elsewhere(
    fleet: ServersOfQueue, client: Client, model: FakeOllama
) -> None:
    model.script(Hang())
    task_id = client.submit_task(generate("m", "long"))
    model.wait_for_calls(1, timeout=PATIENCE_S)

    fleet.leader().kill()
    task = client.wait(task_id, timeout=PATIENCE_S)

    assert (task.status, len(task.attempts)) == (Status.COMPLETED, 2)


def test_a_stream_goes_on_at_the_next_leader(
    fleet: ServersOfQueue, client: Client, model: FakeOllama
) -> None:
    model.script(Stream(words=["a", "b"], then="hang"), Stream(words=["c", "d"]))
    task_id = client.submit_task(chat_task("m", [{"role": "user", "content": "x"}]))
    stream = client.stream_task(task_id)
    first = next(stream)

    fleet.leader().kill()
    rest = list(stream)

    assert first.data["message"]["content"] == "a"
    assert any(chunk.restart for chunk in rest)
    assert (rest[-1].done, rest[-1].status) == (True, Status.COMPLETED)


def test_a_stopped_leader_that_goes_on_follows(
    fleet: ServersOfQueue, client: Client, model: FakeOllama
) -> None:
    old, epoch = fleet.leader(), fleet.epoch()
    old.stop_running()
    task_id = client.submit_task(generate("m", "meanwhile"))
    assert fleet.epoch() > epoch

    old.go_on()
    fleet.until(lambda: role(old.base_url) == "follower")
    with fleet.ready(old) as again:
        assert again.wait(task_id, timeout=PATIENCE_S).status is Status.COMPLETED
    assert fleet.leader() is not old
    check_ends(fleet.versions())


def role(url: str) -> str | None:
    answer = httpx.get(f"{url}/readyz", timeout=PATIENCE_S)
    found: str | None = answer.json().get("role")
    return found


def test_a_leader_that_is_shut_down_hands_over_at_once(
    fleet: ServersOfQueue, client: Client
) -> None:
    old = fleet.leader()
    failures: list[Exception] = []
    over = threading.Event()
    ids: list[str] = []

    def submit() -> None:
        while not over.is_set():
            try:
                ids.append(client.submit_task(generate("m", "hi")))
            except Exception as error:
                failures.append(error)

    user = threading.Thread(target=submit)
    user.start()
    assert old.terminate() == 0
    ended_at = monotonic()
    fleet.leader()
    took_s = monotonic() - ended_at
    count = len(ids)
    fleet.until(lambda: len(ids) > count)
    over.set()
    user.join()

    assert failures == []
    assert took_s < TTL_S
    check_completed(fleet, client, ids)


def test_cut_connections_lose_nothing(
    fleet: ServersOfQueue, client: Client, database: PostgresServer
) -> None:
    ids = [client.submit_task(generate("m", "hi")) for _ in range(5)]
    for _ in range(3):
        database.cut()
        fleet.ready(fleet.leader()).close()
        ids.append(client.submit_task(generate("m", "hi")))

    check_completed(fleet, client, ids)


def test_a_restart_of_postgresql_loses_nothing(
    fleet: ServersOfQueue, client: Client, database: PostgresServer
) -> None:
    ids = [client.submit_task(generate("m", "hi")) for _ in range(5)]

    database.restart()
    fleet.ready(fleet.leader()).close()
    ids.append(client.submit_task(generate("m", "hi")))

    check_completed(fleet, client, ids)
