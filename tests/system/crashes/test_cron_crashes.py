"""A crash around a run of a cron: for each instant there is one task, neither none nor two."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ollama_queue.actors.base.actor import Actor, tell
from ollama_queue.actors.core import messages
from ollama_queue.actors.cron_ticker import CronTicker
from ollama_queue.actors.event_bus import EventBus
from ollama_queue.actors.persistence import Persistence
from ollama_queue.actors.scheduler import Scheduler
from ollama_queue.actors.supervision import generation
from tests.support.harness.crashes import CrashHarness, Fuse

EVERY_MINUTE = {
    "name": "Again",
    "cron_expr": "* * * * *",
    "overlap": "allow",
    "task_template": {
        "type": "chat",
        "model": "smollm2",
        "messages": [{"role": "user", "content": "well"}],
    },
}
AROUND = [
    (CronTicker, messages.Wake),
    (Scheduler, messages.SubmitCronRun),
    (Persistence, messages.Commit),
    (Persistence, messages.Synced),
    (EventBus, messages.Publish),
    (CronTicker, messages.CronFired),
]


@pytest.fixture
def house(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[CrashHarness]:
    caplog.set_level(logging.CRITICAL + 1, "ollama_queue")
    made = CrashHarness(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The ticker's clock shows the last of these; far ahead, so that its timer keeps still."""
    shown = [datetime(2099, 6, 1, 12, 0, 30, tzinfo=UTC)]

    class Ticker(CronTicker):
        def __init__(self, *args: Any, **facts: Any) -> None:
            super().__init__(*args, **facts, clock=lambda: shown[-1].timestamp())

    monkeypatch.setattr(generation, "CronTicker", Ticker)
    return shown


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("actor", "kind"), AROUND, ids=lambda value: value.__name__ if value else ""
)
def test_each_instant_has_one_task(
    house: CrashHarness,
    hands: list[datetime],
    monkeypatch: pytest.MonkeyPatch,
    actor: type[Actor],
    kind: type,
    moment: str,
) -> None:
    fuse = Fuse(actor, kind, moment)
    fuse.install(monkeypatch)
    queue = house.queue.start()
    cron_id = queue.add_cron_task(EVERY_MINUTE)
    before = house.generation()
    assert before is not None
    fuse.armed.set()

    hands.append(datetime(2099, 6, 1, 12, 1, tzinfo=UTC))
    tell(before.ticker, messages.Wake())
    house.rebooted(before)
    house.surely(queue.resume)  # answered behind all that the ticker has brought about
    house.surely(lambda: queue.get_cron_task(cron_id))

    (task,) = [task for task in queue.list_tasks() if task.cron_id == cron_id]
    assert fuse.burnt.is_set()
    house.wait(task.id)
    cron = queue.get_cron_task(cron_id)
    assert (cron.run_count, cron.next_run) == (1, datetime(2099, 6, 1, 12, 2, tzinfo=UTC))

    hands.append(datetime(2099, 6, 1, 12, 2, tzinfo=UTC))
    tell(queue._now().ticker, messages.Wake())
    queue.list_cron_tasks()
    queue.resume()
    tasks = [queue.get_task(task.id) for task in queue.list_tasks() if task.cron_id == cron_id]
    assert [task.metadata and task.metadata["cron_run_count"] for task in tasks] == [2, 1]
