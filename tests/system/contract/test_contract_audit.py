"""The audit log: each change has one entry, in the commit of the change; over both classes."""

from datetime import UTC, datetime, timedelta

import pytest

from ollama_queue import AuditEntry, Conflict, Invalid, NotFound, QueueManager
from tests.support.harness.doors import PATIENCE_S, Door, EmbeddedDoor, ask, in_this_process


def entries(door: Door, **filters: str) -> list[AuditEntry]:
    """All entries, oldest first."""
    return door.queue.list_audit(**filters).entries[::-1]


def actions(door: Door) -> list[tuple[str, str, str]]:
    return [(each.action, each.target, each.detail) for each in entries(door)]


def test_each_change_has_an_entry(door: Door) -> None:
    queue = door.queue
    queue.pause()
    first, second = queue.submit_task(ask()), queue.submit_task(ask())
    queue.update_task_priority(first, "high")
    queue.cancel_task(first)
    queue.retry_task(first)
    queue.cancel_tasks([first, second])
    queue.delete_task(first)
    queue.delete_tasks(filter={"status": ["cancelled"], "q": "a secret"})
    queue.resume()

    assert actions(door) == [
        ("pause", "", ""),
        ("update_task_priority", first, "to 10"),
        ("cancel_task", first, ""),
        ("retry_task", first, ""),
        ("cancel_tasks", "", "2 tasks, by id"),
        ("delete_task", first, ""),
        ("resume", "", ""),
    ]


def test_crons_and_backends_have_entries(door: Door) -> None:
    queue = door.queue
    template = {"type": "generate", "model": "smollm2", "payload": {"prompt": "a secret"}}
    cron_id = queue.add_cron_task(
        {"name": "nightly", "cron_expr": "@daily", "task_template": template}
    )
    queue.update_cron_task(cron_id, {"cron_expr": "@hourly"})
    queue.disable_cron_task(cron_id)
    queue.enable_cron_task(cron_id)
    queue.wait(queue.run_cron_task(cron_id).task_id, timeout=PATIENCE_S)
    queue.remove_cron_task(cron_id)
    name = queue.list_backends()[0].name
    queue.drain_backend(name)
    queue.resume_backend(name)

    assert actions(door) == [
        ("add_cron_task", cron_id, "nightly"),
        ("update_cron_task", cron_id, "cron_expr"),
        ("disable_cron_task", cron_id, ""),
        ("enable_cron_task", cron_id, ""),
        ("run_cron_task", cron_id, ""),
        ("remove_cron_task", cron_id, ""),
        ("drain_backend", name, ""),
        ("resume_backend", name, ""),
    ]


def test_what_was_refused_has_no_entry(door: Door) -> None:
    done = door.queue.submit_task(ask())
    door.queue.wait(done, timeout=PATIENCE_S)
    with pytest.raises(Conflict):
        door.queue.cancel_task(done)
    with pytest.raises(NotFound):
        door.queue.delete_task("nothing")
    with pytest.raises(NotFound):
        door.queue.remove_cron_task("nothing")

    assert entries(door) == []


def test_an_entry_says_who_and_from_where(door: Door) -> None:
    door.queue.pause()
    [entry] = entries(door)

    assert (entry.who, entry.tenant) == ("-", None)
    assert (entry.door, entry.address) in {("python", ""), ("client", "127.0.0.1")}
    assert datetime.now(UTC) - timedelta(minutes=1) < entry.at <= datetime.now(UTC)


def test_pages_and_filters(door: Door) -> None:
    for _ in range(3):
        door.queue.pause()
        door.queue.resume()
    page = door.queue.list_audit(limit=4)
    rest = door.queue.list_audit(limit=4, cursor=page.cursor)

    assert [len(page.entries), len(rest.entries)] == [4, 2]
    assert rest.cursor is None
    seqs = [entry.seq for entry in (*page.entries, *rest.entries)]
    assert seqs == sorted(set(seqs), reverse=True)
    assert len(entries(door, action="pause")) == 3
    assert entries(door, who="nobody") == []
    assert len(door.queue.list_audit(since=seqs_time(page.entries)).entries) == 6
    assert door.queue.list_audit(until=seqs_time(page.entries)).entries == []


def seqs_time(found: list[AuditEntry]) -> datetime:
    return min(entry.at for entry in found) - timedelta(minutes=1)


@pytest.mark.parametrize(
    ("filters", "field"),
    [({"limit": 0}, "limit"), ({"cursor": "x"}, "cursor"), ({"who": "x" * 300}, "who")],
)
def test_bad_filters_are_named(door: Door, filters: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as raised:
        door.queue.list_audit(**filters)

    assert raised.value.field == field


@in_this_process
def test_entries_survive_a_restart(door: EmbeddedDoor) -> None:
    door.queue.pause()
    folder = door.manager.config.queue.storage_path
    door.manager.close(grace_s=0)

    with QueueManager(storage_path=folder) as again:
        assert [each.action for each in again.list_audit().entries] == ["pause"]
