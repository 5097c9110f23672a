"""What feeds are told: encoded once for all, read once for those who come at once."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ollama_queue.actors.base.mailbox import Closed, Mailbox
from ollama_queue.actors.core.model.stats import QueueStats
from ollama_queue.actors.core.model.tasks import Task
from ollama_queue.actors.routines.steps import Leave
from ollama_queue.http.native.feed_broadcaster import Feed, FeedBroadcaster, FeedMessage
from tests.support.harness.app import AppHarness

PATIENCE_S = 10.0
NAMES = ["task_submitted", "task_started", "task_completed"]


class Library:
    """The queue, with a count of readings, which wait while they may not go on."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue
        self.readings = 0
        self.began, self.may_go_on = threading.Event(), threading.Event()
        self.may_go_on.set()

    def listen(self, mailbox: Mailbox[Any]) -> Leave:
        return self.queue.listen(mailbox)  # type: ignore[no-any-return]

    def list_tasks(self) -> list[Task]:
        self.readings += 1
        self.began.set()
        assert self.may_go_on.wait(PATIENCE_S)
        return self.queue.list_tasks()  # type: ignore[no-any-return]

    def get_queue_stats(self) -> QueueStats:
        return self.queue.get_queue_stats()  # type: ignore[no-any-return]


@pytest.fixture
def library(house: AppHarness) -> Library:
    return Library(house.queue)


def told(feed: Feed, count: int, kind: str = "event") -> list[FeedMessage]:
    """The next so many of a kind."""
    found: list[FeedMessage] = []
    while len(found) < count:
        items = feed.take(PATIENCE_S)
        assert items, "nothing came"
        found += [item for item in items if item.kind == kind]
    return found


def begun(broadcaster: FeedBroadcaster, **wanted: frozenset[str]) -> Feed:
    feed = Feed(broadcaster, **wanted)
    assert [item.kind for item in feed.take(PATIENCE_S)] == ["snapshot"]
    return feed


def test_what_all_hear_is_encoded_once(house: AppHarness, library: Library) -> None:
    broadcaster = FeedBroadcaster(library)
    feeds = [begun(broadcaster) for _ in range(20)]
    house.done()
    heard = [told(feed, 3) for feed in feeds]

    assert [item.event.event for item in heard[0] if item.event] == NAMES
    for others in heard[1:]:
        assert all(mine is theirs for mine, theirs in zip(heard[0], others, strict=True))
    assert heard[0][0].message is heard[1][0].message
    assert heard[0][0].frame is heard[1][0].frame
    stats = [told(feed, 1, "stats")[0] for feed in feeds]
    assert all(each is stats[0] for each in stats)


def test_those_who_come_at_once_share_a_snapshot(library: Library) -> None:
    broadcaster = FeedBroadcaster(library)
    library.may_go_on.clear()
    first = Feed(broadcaster)
    assert library.began.wait(PATIENCE_S)
    meanwhile = [Feed(broadcaster) for _ in range(50)]
    library.may_go_on.set()
    snapshots = [told(feed, 1, "snapshot")[0] for feed in [first, *meanwhile]]

    assert library.readings == 2  # what was read already may be older than who came meanwhile
    assert snapshots[0] is not snapshots[1]
    assert all(each is snapshots[1] for each in snapshots[1:])


def test_nothing_is_lost_or_told_twice_to_who_comes_amid_events(
    house: AppHarness, library: Library
) -> None:
    """Whatever a snapshot says, each later state of a task is told once, in order."""
    broadcaster = FeedBroadcaster(library)
    began = begun(broadcaster)
    feeds = []
    for _ in range(20):
        feeds.append(Feed(broadcaster))
        house.done()
    told(began, 60)
    for feed in feeds:
        known: dict[str, int] = {}
        for item in _all(feed):
            if item.kind == "snapshot":
                known = {task["id"]: task["seq"] for task in json.loads(item.data)["tasks"]}
            elif item.event is not None:
                task = item.event.task
                assert item.event.seq > known.get(task.id, 0)
                known[task.id] = item.event.seq
                assert known[task.id] == task.seq
        assert len(known) == 20
        assert known == {task.id: task.seq for task in house.queue.list_tasks()}


def _all(feed: Feed) -> Iterator[FeedMessage]:
    """Up to the stats, which come behind the events."""
    while True:
        for item in feed.take(PATIENCE_S):
            if item.kind == "stats" and json.loads(item.data)["stats"]["completed_tasks"] == 20:
                return
            yield item


def test_each_hears_what_it_wants(house: AppHarness, library: Library) -> None:
    broadcaster = FeedBroadcaster(library)
    ends = begun(broadcaster, events=frozenset({"task_completed"}))
    none = begun(broadcaster, tasks=frozenset({"none"}))
    first = house.done()
    mine = begun(broadcaster, tasks=frozenset({first}))
    house.queue.delete_task(first)

    assert [item.event.event for item in told(ends, 1) if item.event] == ["task_completed"]
    assert [item.event.event for item in told(mine, 1) if item.event] == ["task_deleted"]
    assert {item.kind for item in none.take(PATIENCE_S)} == {"stats"}


def test_one_that_is_too_slow_is_cut_off_and_no_other(house: AppHarness, library: Library) -> None:
    broadcaster = FeedBroadcaster(library)
    slow = Feed(broadcaster, size=2)
    quick = begun(broadcaster)
    house.done()
    told(quick, 3)
    slow.take(PATIENCE_S)
    with pytest.raises(Closed, match="lagged"):
        while slow.take(PATIENCE_S):
            pass
    house.done()

    assert told(quick, 3)


def test_it_begins_anew_when_all_had_gone(house: AppHarness, library: Library) -> None:
    broadcaster = FeedBroadcaster(library)
    for _ in range(3):
        feed = begun(broadcaster)
        house.done()
        told(feed, 3)
        feed.close()
        with pytest.raises(Closed, match="unsubscribed"):
            while True:
                feed.take(PATIENCE_S)
