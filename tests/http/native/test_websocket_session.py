"""The talk over a WebSocket whose other end does not keep up, or whose queue restarts."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from ollama_queue.actors.base.actor import tell
from ollama_queue.actors.core.messages import Publish
from ollama_queue.actors.core.model.events import EventRecord
from ollama_queue.http.native.feed_broadcaster import Feed, FeedBroadcaster
from ollama_queue.http.native.websocket_session import run_session
from tests.support.fakes.websocket import Socket
from tests.support.harness.app import AppHarness

NOTHING: Any = None


@pytest.fixture
def broadcaster(house: AppHarness) -> FeedBroadcaster:
    return FeedBroadcaster(house.queue)


@pytest.fixture
def socket(house: AppHarness, broadcaster: FeedBroadcaster) -> Iterator[Socket]:
    made = Socket()
    threading.Thread(target=run_session, args=(made, house.queue, broadcaster), daemon=True).start()
    yield made
    made.may_send.set()
    made.received.put(None)


def test_one_that_does_not_keep_up_is_closed_with_1013(
    house: AppHarness, broadcaster: FeedBroadcaster, socket: Socket
) -> None:
    socket.sent.get(timeout=10)
    witness = Feed(broadcaster, size=5000)  # it is told behind the other
    assert witness.take(10)
    socket.may_send.clear()
    socket.sending.clear()
    house.queue.pause()
    assert socket.sending.wait(10)
    flood = (EventRecord("queue_paused", None, datetime.now(UTC), seq) for seq in range(1, 2002))
    bus = house.queue._switchboard.current().bus
    tell(bus, Publish(tuple(flood)))
    heard = 0
    while heard < 2002:
        told = witness.take(10)
        assert told
        heard += sum(each.kind == "event" for each in told)
    witness.close()
    socket.may_send.set()

    assert socket.closed.get(timeout=10) == 1013


def test_a_reboot_brings_another_snapshot(house: AppHarness, socket: Socket) -> None:
    assert socket.sent.get(timeout=10)["type"] == "snapshot"
    tell(house.queue._switchboard.current().bus, NOTHING)

    assert socket.sent.get(timeout=10)["type"] == "snapshot"
    task_id = house.done()
    assert socket.sent.get(timeout=10)["task"]["id"] == task_id


def test_a_client_that_leaves_ends_the_talk(socket: Socket) -> None:
    socket.received.put(None)
    assert socket.closed.get(timeout=10) == 1000


def test_a_queue_that_is_closed_is_said_at_once(house: AppHarness) -> None:
    house.queue.close(grace_s=0)
    socket = Socket()
    run_session(socket, house.queue, FeedBroadcaster(house.queue))

    assert socket.closed.get(timeout=10) == 1013
