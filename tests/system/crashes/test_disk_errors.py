"""A disk that fails: the queue goes on from what is on it, or gives up with the reason."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_queue import Status, Unavailable, chat_task
from ollama_queue.actors.store.rocksdb import Store
from ollama_queue.actors.store.sentinel import SyncedState
from tests.support.harness.crashes import PATIENCE_S, CrashHarness


@pytest.fixture
def house(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[CrashHarness]:
    caplog.set_level(logging.CRITICAL + 1, "ollama_queue")
    made = CrashHarness(tmp_path / "data")
    made.queue.start()
    yield made
    made.close()


def test_after_an_fsync_error_it_goes_on_from_what_is_on_disk(
    house: CrashHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, failures = Store.sync, [True]
    before = house.generation()

    def fails_once(store: Store, written: SyncedState) -> None:
        if failures:
            failures.clear()
            raise OSError(5, "Input/output error")
        sync(store, written)

    monkeypatch.setattr(Store, "sync", fails_once)
    new = chat_task("smollm2", [{"role": "user", "content": "well"}])
    with pytest.raises(Unavailable, match="try again"):
        house.queue.submit(new, idempotency_key="the same")
    house.rebooted(before)

    again = house.surely(lambda: house.queue.submit(new, idempotency_key="the same"))
    assert house.queue.wait(again.task_id, timeout=PATIENCE_S).status is Status.COMPLETED
    assert house.queue.get_queue_stats().total_tasks == 1
    assert not house.fatal.done()


def test_a_disk_that_never_syncs_is_given_up_with_the_reason(
    house: CrashHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(store: Store, written: SyncedState) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Store, "sync", fails)
    over = threading.Event()
    house.fatal.add_done_callback(lambda _: over.set())
    new = chat_task("smollm2", [{"role": "user", "content": "well"}])
    while not over.is_set():
        before = house.generation()
        with pytest.raises(Unavailable):
            house.queue.submit(new)
        if not over.is_set() and before is not None:
            over.wait(0.02)

    assert "Input/output error" in house.fatal.result()
    with pytest.raises(Unavailable, match=r"has stopped: .*Input/output error"):
        house.queue.get_queue_stats()
