"""A queue moves from RocksDB to PostgreSQL and back, with all that it has."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ollama_queue.actors.backup.check import check_folder
from ollama_queue.actors.backup.exporting import export, export_rows
from ollama_queue.actors.backup.faults import no_progress
from ollama_queue.actors.backup.importing import import_into, import_lines
from ollama_queue.actors.backup.postgres_reader import PostgresReader
from ollama_queue.actors.store.postgres.store import PostgresStore
from tests.support.full_queue import everything, full_queue, reopened
from tests.support.raw_store import write
from tests.support.recorders import a_record
from tests.support.servers.postgres import PostgresServer, take_lead


@pytest.fixture
def conninfo(postgres: PostgresServer) -> Iterator[str]:
    with postgres.queue() as made:
        yield made


def of_postgres(conninfo: str) -> bytes:
    written = io.BytesIO()
    with PostgresReader(conninfo) as store:
        export_rows(store, store.blobs, datetime.now(UTC), None, written.write, no_progress)
    return written.getvalue()


def into_postgres(lines: bytes, conninfo: str) -> tuple[dict[str, int], dict[str, int]]:
    def open_store() -> PostgresStore:
        return PostgresStore(conninfo, take_lead(conninfo))

    return import_into(open_store, io.BytesIO(lines), no_progress)


def test_there_and_back(tmp_path: Path, conninfo: str) -> None:
    with full_queue(tmp_path / "data"):
        pass
    first = io.BytesIO()
    export(tmp_path / "data", datetime.now(UTC), None, first.write, no_progress)

    added, skipped = into_postgres(first.getvalue(), conninfo)
    assert (added["task"], skipped) == (25, {})
    back = of_postgres(conninfo)
    again, skipped = into_postgres(first.getvalue(), conninfo)
    assert (again, skipped) == ({}, added)
    import_lines(io.BytesIO(back), tmp_path / "new", no_progress)

    assert [str(fault) for fault in check_folder(tmp_path / "new")] == []
    with reopened(tmp_path / "data") as queue:
        before = everything(queue)
    with reopened(tmp_path / "new") as queue:
        assert everything(queue) == before
        assert queue.get_history()
        assert len(queue.list_audit(limit=100).entries) > 0


def test_an_export_is_as_of_its_beginning(conninfo: str) -> None:
    leader = PostgresStore(conninfo, take_lead(conninfo))
    write(leader, *(a_record(n) for n in range(20)))
    written = io.BytesIO()
    with PostgresReader(conninfo) as store:
        write(leader, *(a_record(n) for n in range(20, 40)))
        export_rows(store, store.blobs, datetime.now(UTC), None, written.write, no_progress)
    leader.close()

    assert written.getvalue().count(b'"kind":"task"') == 20


def test_a_queue_without_tables_exports_nothing(conninfo: str) -> None:
    assert len(of_postgres(conninfo).splitlines()) == 2
