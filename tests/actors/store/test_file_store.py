"""Files and their records: what a boot finds of one without the other."""

from datetime import timedelta
from pathlib import Path

import pytest

from ollama_queue import NotFound, QueueManager
from ollama_queue.actors.core.model.files import BATCH_OUTPUT, StoredFile, id_of_file
from ollama_queue.actors.core.plan.settle import utc
from ollama_queue.actors.files.blobs import FOLDER
from ollama_queue.actors.store.commit_group import CommitGroup
from tests.support.recorders import START
from tests.support.stores import KINDS, NewStores


def saved(queue: QueueManager, data: bytes) -> StoredFile:
    with queue.new_file() as new:
        new.write(data)
        return new.save("a.jsonl", "batch")


def test_a_boot_removes_one_without_the_other(tmp_path: Path) -> None:
    with QueueManager(storage_path=tmp_path) as queue:
        kept, lost = saved(queue, b"x"), saved(queue, b"y")
    orphan, foreign = tmp_path / FOLDER / id_of_file("0" * 32), tmp_path / FOLDER / "mine"
    orphan.write_bytes(b"z")
    foreign.write_bytes(b"w")
    (tmp_path / FOLDER / lost.id).unlink()

    with QueueManager(storage_path=tmp_path) as queue:
        assert queue.list_files(10).files == [kept]
        with pytest.raises(NotFound):
            queue.read_file(lost.id)
        _, reader = queue.read_file(kept.id)
        assert b"".join(reader) == b"x"
        reader.close()
    assert not orphan.exists()
    assert foreign.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_lists_and_those_that_have_expired(kind: str, stores: NewStores) -> None:
    files = [
        StoredFile(
            id=id_of_file(f"{number:032x}"),
            filename="a",
            purpose="batch" if number % 2 else BATCH_OUTPUT,
            size=number,
            created_at=START,
            expires_at=None if number == 3 else START + timedelta(seconds=number),
        )
        for number in range(6)
    ]
    store = stores.new(kind).open()
    group = CommitGroup()
    group.files = {file.id: file for file in files}
    store.write(group)

    def page(limit: int, after: str = "", purpose: str = "", ascending: bool = False) -> list[int]:
        return [f.size for f in store.files.page(limit, after, purpose, ascending)().files]

    assert page(10) == [5, 4, 3, 2, 1, 0]
    assert page(2, files[4].id) == [3, 2]
    assert page(2, files[1].id, BATCH_OUTPUT, True) == [2, 4]
    assert store.files.page(3, "", "batch", False)().has_more is False
    assert store.files.page(2, "", "batch", False)().has_more is True
    expired = store.files.expired(utc(START.timestamp() + 4))()
    assert expired == tuple(files[number].id for number in (0, 1, 2, 4))
    store.close()
