"""Calls on all servers: who makes them, what becomes of them, and their streams, read anywhere."""

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_queue import Client, Status, generate_task
from ollama_queue.actors.core.model.tasks import Chunk
from tests.support.fakes.model_server import FakeOllama, Stream
from tests.support.servers.fleet import PATIENCE_S, ServerOfFleet, ServersOfQueue, check_ends
from tests.support.servers.postgres import PostgresServer

SLOTS = 2


@pytest.fixture
def gate() -> threading.Event:
    return threading.Event()


@pytest.fixture
def model(gate: threading.Event) -> Iterator[FakeOllama]:
    """Its replies wait for the gate after their first word."""
    with FakeOllama(Stream(words=["one", " two", " three"], gate=gate)) as fake:
        yield fake


@pytest.fixture
def fleet(database: PostgresServer, model: FakeOllama, tmp_path: Path) -> Iterator[ServersOfQueue]:
    with (
        database.queue() as conninfo,
        ServersOfQueue(tmp_path, model.url, conninfo, workers=SLOTS, parallel=3 * SLOTS) as servers,
    ):
        servers.until(lambda: len(_seen(servers)) == 3)
        yield servers


def _seen(fleet: ServersOfQueue) -> list[str]:
    with fleet.ready(fleet.leader()) as client:
        return [each.id for each in client.list_servers()]


def submitted(fleet: ServersOfQueue, model: FakeOllama, count: int) -> list[str]:
    """Tasks that all run."""
    with fleet.leader().client() as client:
        ids = [client.submit_task(generate_task("m", f"{n}")) for n in range(count)]
    model.wait_for_calls(count, PATIENCE_S)
    return ids


def callers(fleet: ServersOfQueue) -> Counter[str]:
    """How many calls each server but the leader makes, by its address."""
    with fleet.connection() as connection:
        rows = connection.execute(
            b"SELECT s.url FROM calls c JOIN servers s"
            b" ON s.id::text = substring(convert_from(c.key, 'utf8') FOR 36)"
        ).fetchall()
    return Counter(url for (url,) in rows)


def server_at(fleet: ServersOfQueue, url: str) -> ServerOfFleet:
    return next(each for each in fleet.servers if each.base_url == url)


def wait_for_all(client: Client, ids: list[str]) -> None:
    for task_id in ids:
        assert client.wait(task_id, timeout=PATIENCE_S).status is Status.COMPLETED


def test_each_server_makes_as_many_calls_as_it_has_workers(
    fleet: ServersOfQueue, model: FakeOllama, gate: threading.Event
) -> None:
    ids = submitted(fleet, model, 3 * SLOTS)

    assert callers(fleet) == {each.base_url: SLOTS for each in fleet.followers()}
    for server in fleet.servers:
        with server.client() as client:
            fleet.until(lambda: [s.calls for s in client.list_servers()] == [SLOTS] * 3)

    gate.set()
    with fleet.leader().client() as client:
        wait_for_all(client, ids)
    fleet.until(lambda: not callers(fleet))
    assert len(model.calls) == len(ids)
    check_ends(fleet.versions())


def test_a_stream_is_read_through_each_server(
    fleet: ServersOfQueue, model: FakeOllama, gate: threading.Event
) -> None:
    ids = submitted(fleet, model, 3 * SLOTS)
    heard: dict[tuple[str, str], list[Chunk]] = {}
    begun = threading.Semaphore(0)

    def read(server: ServerOfFleet, task_id: str) -> None:
        chunks = heard[server.base_url, task_id] = []
        with server.client() as client:
            for chunk in client.stream_task(task_id):
                chunks.append(chunk)
                if len(chunks) == 1:
                    begun.release()

    readers = [
        threading.Thread(target=read, args=(server, task_id))
        for server in fleet.servers
        for task_id in ids
    ]
    for reader in readers:
        reader.start()
    for _ in readers:
        assert begun.acquire(timeout=PATIENCE_S), "the first word comes while the call goes on"
    gate.set()
    for reader in readers:
        reader.join(PATIENCE_S)

    for chunks in heard.values():
        assert "".join(chunk.data["response"] for chunk in chunks if chunk.data) == "one two three"
        assert not any(chunk.restart for chunk in chunks)
        assert (chunks[-1].done, chunks[-1].error) == (True, None)


def test_calls_go_on_while_the_leader_is_gone(
    fleet: ServersOfQueue, model: FakeOllama, gate: threading.Event
) -> None:
    leader = fleet.leader()
    ids = submitted(fleet, model, 3 * SLOTS)
    kept = callers(fleet).total()

    follower = fleet.followers()[0]
    leader.kill()
    with follower.client() as client:
        client.get_queue_stats()  # the next one leads
        gate.set()
        wait_for_all(client, ids)

    assert kept == 2 * SLOTS
    assert len(model.calls) == len(ids) + SLOTS  # those of the leader were made again, no others
    attempts = Counter(len(records[-1].attempts) for records in fleet.versions().values())
    assert attempts == {1: kept, 2: SLOTS}
    check_ends(fleet.versions())


def test_a_task_whose_server_is_killed_runs_again(
    fleet: ServersOfQueue, model: FakeOllama, gate: threading.Event
) -> None:
    ids = submitted(fleet, model, 3 * SLOTS)
    lost = fleet.followers()[0]

    lost.kill()
    gate.set()
    with fleet.leader().client() as client:
        wait_for_all(client, ids)

    assert len(model.calls) == len(ids) + SLOTS
    fleet.until(lambda: not callers(fleet))
    check_ends(fleet.versions())


def test_a_stream_begins_anew_when_its_server_is_killed(
    fleet: ServersOfQueue, model: FakeOllama, gate: threading.Event
) -> None:
    submitted(fleet, model, 3 * SLOTS)
    lost = fleet.followers()[0]
    with fleet.connection() as connection:
        ((key,),) = connection.execute(
            b"SELECT convert_from(key, 'utf8') FROM calls WHERE starts_with(convert_from(key,"
            b" 'utf8'), (SELECT id::text FROM servers WHERE url = %b)) ORDER BY key LIMIT 1",
            (lost.base_url,),
        ).fetchall()
    with fleet.leader().client() as client:
        stream = client.stream_task(key.split(":")[1])
        chunks = [next(stream)]

        lost.kill()
        gate.set()
        chunks += stream

    assert [chunk.restart for chunk in chunks].count(True) == 1
    after = [chunk.restart for chunk in chunks].index(True) + 1
    said = [chunk.data["response"] for chunk in chunks[after:] if chunk.data]
    assert "".join(said) == "one two three"
    assert chunks[-1].done


def test_a_cancelled_call_ends_wherever_it_runs(fleet: ServersOfQueue, model: FakeOllama) -> None:
    model.script(*[Stream(words=["one"], then="hang")] * 3 * SLOTS)
    ids = submitted(fleet, model, 3 * SLOTS)

    with fleet.leader().client() as client:
        for task_id in ids:
            client.cancel_task(task_id)

    model.wait_for_disconnect(PATIENCE_S, len(ids))
    fleet.until(lambda: not callers(fleet))
    with fleet.leader().client() as client:
        assert client.get_queue_stats().workers_active == 0


def test_a_stopped_server_finishes_its_calls_first(
    fleet: ServersOfQueue, model: FakeOllama, gate: threading.Event
) -> None:
    ids = submitted(fleet, model, 3 * SLOTS)
    leaving = fleet.followers()[0]

    ending = threading.Thread(target=leaving.terminate)
    ending.start()
    with fleet.leader().client() as client:
        fleet.until(
            lambda: [s.slots for s in client.list_servers() if s.url == leaving.base_url] == [0]
        )
        gate.set()
        wait_for_all(client, ids)
    ending.join(PATIENCE_S)

    assert not ending.is_alive()
    assert len(model.calls) == len(ids)
    check_ends(fleet.versions())


def test_a_stopped_leader_leaves_the_calls_of_others_alone(
    fleet: ServersOfQueue, model: FakeOllama, gate: threading.Event
) -> None:
    leader = fleet.leader()
    ids = submitted(fleet, model, 3 * SLOTS)

    ending = threading.Thread(target=leader.terminate)
    ending.start()
    fleet.until(lambda: "stopping" in leader.log_text())
    gate.set()
    ending.join(PATIENCE_S)
    with fleet.ready(fleet.leader()) as client:
        wait_for_all(client, ids)

    assert len(model.calls) == len(ids)
    check_ends(fleet.versions())


def test_a_frozen_servers_call_ends_once(
    fleet: ServersOfQueue, model: FakeOllama, gate: threading.Event
) -> None:
    ids = submitted(fleet, model, 3 * SLOTS)
    frozen = fleet.followers()[0]
    with fleet.leader().client() as client:
        frozen.stop_running()
        fleet.until(lambda: len(client.list_servers()) == 2)  # it is taken for dead
        gate.set()
        wait_for_all(client, ids)
        frozen.go_on()
        fleet.until(lambda: len(client.list_servers()) == 3)
        wait_for_all(client, [client.submit_task(generate_task("m", "again")) for _ in ids])

    check_ends(fleet.versions())
