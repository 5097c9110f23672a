"""The bytes of files in PostgreSQL: written and read in pieces, and gone with their record."""

from collections.abc import Iterator
from datetime import UTC, datetime
from time import monotonic

import pytest

from ollama_queue.actors.base.thread_pool import InlinePool
from ollama_queue.actors.core.model.files import StoredFile, id_of_file
from ollama_queue.actors.files.blob_streams import BlobReader, BlobWriter
from ollama_queue.actors.store.commit_group import CommitGroup
from ollama_queue.actors.store.postgres import blobs as postgres_blobs
from ollama_queue.actors.store.postgres.blobs import LatePostgresBlobs, PostgresBlobs
from ollama_queue.actors.store.postgres.connections import connect
from ollama_queue.actors.store.postgres.schema import prepare
from ollama_queue.actors.store.postgres.store import PostgresStore
from ollama_queue.actors.store.postgres.tables import Tables
from tests.support.recorders import PATIENCE_S
from tests.support.servers.postgres import PostgresServer, take_lead

ID, OTHER = id_of_file("1" * 32), id_of_file("2" * 32)


@pytest.fixture
def blobs(conninfo: str) -> Iterator[PostgresBlobs]:
    prepare(conninfo)
    tables = Tables(conninfo)
    yield PostgresBlobs(tables)
    tables.close()


def write(blobs: PostgresBlobs, blob_id: str, *pieces: bytes) -> None:
    with BlobWriter(blobs, InlinePool(), blob_id, lambda size: None) as writer:
        for piece in pieces:
            writer.write(piece)
        writer.finish()


def read(blobs: PostgresBlobs, blob_id: str) -> bytes:
    reader = BlobReader(blobs, InlinePool(), blob_id)
    content = b"".join(reader)
    reader.close()
    return content


def test_they_are_written_and_read_in_pieces(
    blobs: PostgresBlobs, conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_blobs, "_PIECE", 100_000)
    content = bytes(range(256)) * 4000
    write(blobs, ID, content[:10], content[10:700_000], content[700_000:])
    write(blobs, OTHER)

    assert (read(blobs, ID), read(blobs, OTHER)) == (content, b"")
    assert blobs.ids() == {ID, OTHER}
    with connect(conninfo) as connection:
        (longest,) = connection.execute("SELECT max(length(bytes)) FROM blobs").fetchone() or ()
    assert longest == 100_000


def test_an_upload_that_is_cut_off_leaves_nothing(blobs: PostgresBlobs) -> None:
    with (
        pytest.raises(ConnectionResetError),
        BlobWriter(blobs, InlinePool(), ID, lambda size: None) as writer,
    ):
        writer.write(b"x" * 1_000_000)
        raise ConnectionResetError

    assert (blobs.ids(), blobs.has(ID)) == (set(), False)
    with pytest.raises(FileNotFoundError, match="there is no file-1111"):
        blobs.open(ID)


def test_what_is_removed_while_it_is_read_is_an_error_and_no_end(blobs: PostgresBlobs) -> None:
    write(blobs, ID, b"x" * 300_000, b"y" * 300_000)
    blob = blobs.open(ID)
    assert blob.read(10) == b"x" * 10
    blobs.remove(ID)

    with pytest.raises(FileNotFoundError, match="was removed while it was read"):
        while blob.read(100_000):
            pass


def test_a_boot_removes_bytes_without_a_record_and_records_without_bytes(conninfo: str) -> None:
    store = PostgresStore(conninfo, take_lead(conninfo))
    blobs, kept = store.files.blobs, id_of_file("3" * 32)
    for blob_id in (ID, kept):
        blobs.create(blob_id).write(b"x")
    group, now = CommitGroup(), datetime.now(UTC)
    for file_id in (OTHER, kept):
        group.files[file_id] = StoredFile(
            id=file_id, filename="a", purpose="batch", size=1, created_at=now
        )
    store.write(group)
    store.close()

    again = PostgresStore(conninfo, take_lead(conninfo))
    again.recover()
    assert again.files.blobs.ids() == {kept}
    assert (again.files.get(OTHER), again.files.get(kept)) == (None, group.files[kept])
    again.close()


def test_a_write_that_is_cut_is_repeated(blobs: PostgresBlobs, postgres: PostgresServer) -> None:
    blob = blobs.create(ID)
    for letter in (b"a", b"b", b"c"):
        blob.write(letter * 100)
        postgres.cut()

    assert read(blobs, ID) == b"a" * 100 + b"b" * 100 + b"c" * 100


def test_those_of_doors_leave_no_connection(blobs: PostgresBlobs, conninfo: str) -> None:
    write(blobs, ID, b"content")
    late = LatePostgresBlobs(f"{conninfo}&application_name=late")

    def connections() -> int:
        with connect(conninfo) as connection:
            count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'late'"
            return int((connection.execute(count).fetchone() or (0,))[0])

    for _ in range(2):
        assert read(late, ID) == b"content"
        assert connections() > 0
        late.release()
        late.release()
        due = monotonic() + PATIENCE_S
        while connections():
            assert monotonic() < due
