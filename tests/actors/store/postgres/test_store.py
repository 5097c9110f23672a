"""The store in PostgreSQL: one writes at a time, all of a commit or nothing, whatever is cut."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from ollama_queue import Unavailable
from ollama_queue.actors.core.model.tasks import Status
from ollama_queue.actors.store import migrations
from ollama_queue.actors.store.commit_group import TaskWrite
from ollama_queue.actors.store.postgres.connections import PostgresError, connect
from ollama_queue.actors.store.postgres.saving import Fenced
from ollama_queue.actors.store.postgres.schema import prepare
from ollama_queue.actors.store.postgres.store import PostgresStore
from tests.support.raw_store import group, listed, write
from tests.support.recorders import PATIENCE_S, a_record, task_id
from tests.support.servers.postgres import PostgresServer, take_lead


def led(conninfo: str) -> PostgresStore:
    """A store that leads from now on."""
    return PostgresStore(conninfo, take_lead(conninfo))


def rows(conninfo: str, table: str = "tasks") -> int:
    with connect(conninfo) as connection:
        return len(connection.execute(f"SELECT key FROM {table}".encode()).fetchall())


# --- who writes ---------------------------------------------------------------------------------


def test_who_leads_no_longer_writes_nothing(conninfo: str) -> None:
    former, leader = led(conninfo), led(conninfo)
    write(leader, a_record(1))
    former.write(group(TaskWrite(a_record(2), None, b"{}")))

    with pytest.raises(Fenced, match="another server leads the queue"):
        former.sync(former.written())

    assert rows(conninfo) == 1
    with pytest.raises(PostgresError, match="an earlier commit failed"):
        former.sync(former.written())
    former.close()
    assert rows(conninfo) == 1
    leader.close()


def test_it_is_not_opened_by_who_leads_no_longer(conninfo: str) -> None:
    epoch = take_lead(conninfo)
    leader = led(conninfo)

    with pytest.raises(Unavailable, match="another server leads the queue") as refused:
        PostgresStore(conninfo, epoch)

    assert refused.value.retry_after_s
    assert leader.boot == 1
    leader.close()


@contextmanager
def being_written(conninfo: str, leader: PostgresStore) -> Iterator[None]:
    """While the leader's statement waits in its middle, for a row that another has locked."""
    write(leader, a_record(1))
    leader.write(group(TaskWrite(a_record(1, seq=2), a_record(1))))
    with connect(conninfo, idle_in_transaction_session_timeout="20s") as other:
        with other.transaction():
            other.execute("SELECT FROM tasks FOR UPDATE")
            saving = Thread(target=leader.sync, args=(leader.written(),))
            saving.start()
            until_waiting(conninfo, 1)
            yield
        saving.join()


def until_waiting(conninfo: str, count: int) -> None:
    """Until so many statements wait for a lock."""
    waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    deadline = time.monotonic() + PATIENCE_S
    with connect(conninfo) as connection:
        while len(connection.execute(waiting).fetchall()) < count:
            assert time.monotonic() < deadline, "nothing waits"


def test_a_takeover_waits_for_what_is_being_written(conninfo: str) -> None:
    """And so what the next one reads is all that was acknowledged."""
    leader = led(conninfo)
    epochs: list[int] = []
    with being_written(conninfo, leader):
        follower = Thread(target=lambda: epochs.append(take_lead(conninfo)))
        follower.start()
        until_waiting(conninfo, 2)
        assert epochs == []
    follower.join()
    again = PostgresStore(conninfo, epochs[0])
    assert again.record(task_id(1)) == a_record(1, seq=2)
    again.close()
    leader.close()


def test_a_sign_of_life_does_not_wait_for_what_is_being_written(conninfo: str) -> None:
    leader = led(conninfo)
    with being_written(conninfo, leader), connect(conninfo, lock_timeout="1s") as beats:
        beats.execute("UPDATE leader SET seen_at = clock_timestamp()")
    leader.close()


def test_without_an_epoch_it_is_read_only(conninfo: str) -> None:
    leader = led(conninfo)
    write(leader, a_record(1))

    reader = PostgresStore(conninfo)
    assert reader.read_only
    assert (listed(reader), reader.boot, reader.counts.total(Status.PENDING)) == ([1], 1, 1)
    reader.close()
    leader.close()


# --- formats ------------------------------------------------------------------------------------


def test_one_of_an_older_format_is_given_its_rows_anew(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "SLICE_TASKS", 3)
    older = led(conninfo)
    write(older, *(a_record(n, tenant="ann" if n % 2 else None) for n in range(10)))
    older.write_row("meta", b"format", b"3")
    older.close()
    with connect(conninfo) as connection:
        connection.execute("DELETE FROM index")
        connection.execute("DELETE FROM meta WHERE key = 'tenant:ann'")

    again = led(conninfo)
    assert listed(again, tenant=["ann"]) == [9, 7, 5, 3, 1]
    assert again.counts_of("ann").total(Status.PENDING) == 5
    assert len(again.recover().waiting) == 10
    again.close()
    again = led(conninfo)
    assert again.row("meta", b"format") == b"%d" % migrations.FORMAT
    again.close()


def test_one_of_a_newer_format_is_refused(conninfo: str) -> None:
    newer = led(conninfo)
    newer.write_row("meta", b"format", b"99")
    newer.close()

    with pytest.raises(Unavailable, match="the store in PostgreSQL has format 99, this version"):
        led(conninfo)


# --- all or nothing -----------------------------------------------------------------------------


def test_a_group_that_is_refused_in_part_is_not_there_at_all(conninfo: str) -> None:
    leader = led(conninfo)
    with connect(conninfo) as other:
        other.execute("ALTER TABLE index ADD CHECK (length(key) < 10)")
    with pytest.raises(PostgresError, match="violates check constraint"):
        write(leader, a_record(1), a_record(2))
    leader.close()

    assert [rows(conninfo, table) for table in ("tasks", "specs", "index")] == [0, 0, 0]


def test_a_result_of_many_megabytes_is_one_commit(conninfo: str) -> None:
    leader = led(conninfo)
    result = bytes(range(256)) * (64 << 12)
    leader.write(group(TaskWrite(a_record(1), None, b"{}", result)))
    leader.sync(leader.written())
    leader.close()

    again = led(conninfo)
    assert again.result(task_id(1)) == result
    again.close()


# --- what is cut --------------------------------------------------------------------------------


def test_a_read_that_is_cut_is_repeated(postgres: PostgresServer, conninfo: str) -> None:
    leader = led(conninfo)
    write(leader, *(a_record(n) for n in range(50)))
    for _ in range(3):
        postgres.cut()
        assert leader.spec(task_id(1000)) is None
        assert listed(leader, limit=1000) == list(range(49, -1, -1))
    with pytest.raises(PostgresError):
        write(leader, a_record(100))
    leader.close()


def test_a_read_of_one_moment_that_is_cut_goes_on(postgres: PostgresServer, conninfo: str) -> None:
    leader = led(conninfo)
    write(leader, *(a_record(n) for n in range(50)))
    (tasks,) = leader.snapshots("tasks")

    def read() -> list[bytes]:
        found = []
        for number, (key, _) in enumerate(tasks.between(b"", b"g")):
            if number % 20 == 0:
                postgres.cut()
            found.append(key)
        return found

    assert leader.reading(read)() == [task_id(n).encode() for n in range(50)]
    leader.close()


def test_after_a_crash_of_postgresql_all_that_was_acknowledged_is_there(conninfo: str) -> None:
    with PostgresServer(fsync=True) as server, server.queue() as place:
        leader = led(place)
        write(leader, *(a_record(n) for n in range(20)))
        leader.write(group(TaskWrite(a_record(20), None, b"{}")))
        server.restart()
        with pytest.raises(PostgresError):
            leader.sync(leader.written())
        leader.close()

        again = led(place)
        assert listed(again, limit=100) == list(range(19, -1, -1))
        again.close()


def test_a_server_that_is_down_is_one_sentence(conninfo: str) -> None:
    with PostgresServer() as server, server.queue() as place:
        prepare(place)
        server.stop()
        with pytest.raises(Unavailable, match=r"PostgreSQL: .+") as refused:
            PostgresStore(place, 1)
        assert "\n" not in refused.value.message
        server.start()


def test_who_gets_no_connection_learns_why(conninfo: str) -> None:
    with connect(conninfo) as connection:
        connection.execute("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0")
    try:
        with pytest.raises(Unavailable, match='too many connections for role "crowded"'):
            PostgresStore(f"{conninfo}{'&' if '?' in conninfo else '?'}user=crowded")
    finally:
        with connect(conninfo) as connection:
            connection.execute("DROP ROLE crowded")
