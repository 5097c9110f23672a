"""PostgreSQL refuses to write for a while: a disk is full, it is read-only, or a table is gone."""

import secrets
import threading
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

import httpx
import psycopg
import pytest

from ollama_queue import Client, Unavailable
from ollama_queue import generate_task as generate
from tests.fleet.test_takeovers import check_completed
from tests.support.fakes.model_server import FakeOllama, Stream
from tests.support.harness.cli import run
from tests.support.servers.fleet import PATIENCE_S, ServerOfFleet, ServersOfQueue
from tests.support.servers.postgres import PostgresServer
from tests.support.small_disk import SmallDisk
from tests.system.crashes.test_kill9 import all_tasks

FULL = "PostgreSQL's disk is full; the queue continues when there is space again"
READY = (200, "")
READ_ONLY = "the database is read-only; the queue continues when it can be written again"
REFUSED = (
    "PostgreSQL refuses what the queue writes, and the log says why; "
    "the queue continues when it is taken again"
)


TTL_S = 10.0  # nobody loses the lead but by what PostgreSQL does, however busy the machine is


@pytest.fixture
def gate() -> threading.Event:
    return threading.Event()


@pytest.fixture
def model(gate: threading.Event) -> Iterator[FakeOllama]:
    with FakeOllama(Stream(gate=gate)) as fake:
        yield fake


@pytest.fixture
def disk(database: PostgresServer) -> Iterator[SmallDisk]:
    """The disk that the tables of `on_small_disk` are on."""
    with database.small_disk(64) as small:
        yield small


@pytest.fixture
def on_small_disk(
    database: PostgresServer, disk: SmallDisk, model: FakeOllama, tmp_path: Path
) -> Iterator[ServersOfQueue]:
    with database.queue() as conninfo:
        there = f"{conninfo}%20-cdefault_tablespace%3Dsmall"
        with ServersOfQueue(
            tmp_path, model.url, there, workers=2, parallel=6, ttl_s=TTL_S
        ) as servers:
            yield servers


@pytest.fixture
def fleet(database: PostgresServer, model: FakeOllama, tmp_path: Path) -> Iterator[ServersOfQueue]:
    with (
        database.queue() as conninfo,
        ServersOfQueue(tmp_path, model.url, conninfo, ttl_s=TTL_S) as servers,
    ):
        yield servers


def execute(conninfo: str, statement: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(b"SET default_transaction_read_only = off")
        connection.execute(statement.encode())


def submit_until_refused(client: Client) -> tuple[list[str], str]:
    """The tasks that were taken on, as pages still have room, and why the next one was not."""
    ids = []
    while True:
        try:
            ids.append(client.submit_task(generate("m", "x" * 2000)))
        except Unavailable as refused:
            return ids, refused.message


def readiness(server: ServerOfFleet) -> tuple[int, str]:
    answer = httpx.get(f"{server.base_url}/readyz", timeout=PATIENCE_S)
    return answer.status_code, answer.json().get("error", {}).get("message", "")


def await_readiness(fleet: ServersOfQueue, wanted: tuple[int, str]) -> None:
    """Wait until all servers say so: whether it can write again, the queue tries every 30 s."""
    fleet.until(lambda: {readiness(each) for each in fleet.servers} == {wanted}, 3 * PATIENCE_S)


def lists(server: ServerOfFleet, ids: set[str]) -> bool:
    with suppress(Unavailable), server.client() as client:
        return {task.id for task in client.list_tasks()} == ids
    return False


def test_on_a_full_disk_the_lead_stays_reads_go_on_and_nothing_is_lost(
    on_small_disk: ServersOfQueue, disk: SmallDisk, model: FakeOllama, gate: threading.Event
) -> None:
    fleet = on_small_disk
    fleet.until(lambda: fleet.count() == 3)
    leader, follower = fleet.leader(), fleet.followers()[0]
    with fleet.ready(follower) as client:
        ids = [client.submit_task(generate("m", str(n))) for n in range(6)]
        model.wait_for_calls(6, PATIENCE_S)
        elsewhere = assigned(fleet)
        assert len(elsewhere) == 4
        epoch = fleet.epoch()

        disk.fill()
        taken, why = submit_until_refused(client)
        assert why == FULL
        await_readiness(fleet, (503, f"not ready: {FULL}"))
        gate.set()
        model.wait_until_idle(PATIENCE_S)
        for server in fleet.servers:
            with server.client() as door:
                assert {task.id for task in door.list_tasks()} == {*ids, *taken}
                assert door.get_task(ids[0]).id == ids[0]
                assert door.get_queue_stats().read_only == FULL
                assert door.list_servers()[0].read_only == FULL
                url, upload = f"{server.base_url}/v1/files", {"file": ("a", bytes(1 << 20))}
                answer = httpx.post(url, files=upload, data={"purpose": "batch"}, timeout=20)
                assert (answer.status_code, FULL in answer.text) == (503, True)
                shown = [run(lambda _: nullcontext(door), verb) for verb in ("servers", "status")]
                assert "leader, read-only" in shown[0].output
                assert FULL in shown[1].output
                for change in (lambda: door.cancel_task(ids[0]), door.pause):
                    with pytest.raises(Unavailable, match=f"^{FULL}$"):
                        change()
        assert (fleet.leader(), fleet.epoch()) == (leader, epoch)

        disk.free()
        await_readiness(fleet, READY)
        ids = [*ids, *taken, client.submit_task(generate("m", "after"))]
        check_completed(fleet, client, ids)
        assert all_tasks(client).keys() == set(ids)
        assert {client.get_task(task_id).interruptions for task_id in elsewhere} == {0}
        assert client.get_queue_stats().read_only is None
    assert (fleet.leader(), fleet.epoch()) == (leader, epoch + 1)
    assert "Traceback" not in "".join(server.log_text() for server in fleet.servers)


def assigned(fleet: ServersOfQueue) -> set[str]:
    """The tasks whose calls servers make that do not lead."""
    with fleet.connection() as connection:
        rows = connection.execute(b"SELECT convert_from(key, 'utf8') FROM calls").fetchall()
    return {key.split(":")[1] for (key,) in rows}


@pytest.mark.parametrize(
    ("refuse", "accept", "why"),
    [
        (
            "ALTER SYSTEM SET default_transaction_read_only = on",
            "ALTER SYSTEM RESET default_transaction_read_only",
            READ_ONLY,
        ),
        ("ALTER TABLE specs RENAME TO others", "ALTER TABLE others RENAME TO specs", REFUSED),
    ],
    ids=["read-only", "a table is gone"],
)
def test_reads_go_on_and_it_goes_on_by_itself(
    fleet: ServersOfQueue, gate: threading.Event, refuse: str, accept: str, why: str
) -> None:
    gate.set()
    follower = fleet.followers()[0]
    with fleet.ready(follower) as client:
        ids = [client.submit_task(generate("m", "before"))]
        client.wait(ids[0], timeout=PATIENCE_S)
        epoch = fleet.epoch()

        for statement in (refuse, "SELECT pg_reload_conf()"):
            execute(fleet.conninfo, statement)
        taken, told = submit_until_refused(client)
        fleet.until(lambda: all(readiness(each)[0] == 503 for each in fleet.servers))
        fleet.until(lambda: all(lists(each, {*ids, *taken}) for each in fleet.servers))

        for statement in (accept, "SELECT pg_reload_conf()"):
            execute(fleet.conninfo, statement)
        await_readiness(fleet, READY)
        assert told.endswith(why)
        ids = [*ids, *taken, client.submit_task(generate("m", "after"))]
        check_completed(fleet, client, ids)
        assert all_tasks(client).keys() == set(ids)
    assert fleet.epoch() == epoch + 1
    assert "Traceback" not in "".join(server.log_text() for server in fleet.servers)


def test_a_full_disk_of_its_own_log_ends_postgresql_and_the_queue_waits(
    model: FakeOllama, gate: threading.Event, tmp_path: Path
) -> None:
    gate.set()
    with (
        PostgresServer(fsync=True, log_disk_mib=48) as database,
        database.queue() as conninfo,
        ServersOfQueue(tmp_path, model.url, conninfo, size=2) as fleet,
        fleet.ready(fleet.leader()) as client,
    ):
        ids = [client.submit_task(generate("m", "before"))]
        assert database.log_disk is not None
        database.log_disk.fill()
        while not database.has_ended:
            with suppress(Unavailable):
                ids.append(client.submit_task(generate("m", secrets.token_hex(1 << 20))))
        away = "no server leads the queue at the moment: its database does not answer"
        await_readiness(fleet, (503, away))

        database.log_disk.free()
        database.start()
        ids.append(client.submit_task(generate("m", "after")))
        check_completed(fleet, client, ids)
        assert set(ids) <= all_tasks(client).keys()
