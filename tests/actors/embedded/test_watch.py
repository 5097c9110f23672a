"""Waiting for a task, whatever happens to the actors meanwhile."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ollama_queue.actors.base.actor import ask, start, stop, tell
from ollama_queue.actors.core.messages import CloseSubscriptions
from ollama_queue.actors.core.model.errors import NotFound, OutcomeUnknown, Unavailable
from ollama_queue.actors.core.model.tasks import Status
from ollama_queue.actors.embedded import watch
from ollama_queue.actors.event_bus import EventBus
from ollama_queue.actors.supervision.switchboard import Generation
from tests.support.harness.event_bus import TASK, WHOLE, EventBusHarness, shown
from tests.support.recorders import PATIENCE_S, completed, started, task_id


@pytest.fixture
def house(tmp_path: Path) -> Iterator[EventBusHarness]:
    made = EventBusHarness(tmp_path)
    yield made
    made.close()


def test_waiting_ends_with_the_task(house: EventBusHarness) -> None:
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(watch.wait, house.switchboard, TASK, PATIENCE_S)
        house.commit(started(1))
        house.commit(completed(1))

        assert waiting.result(PATIENCE_S).record.status is Status.COMPLETED


def test_who_comes_after_the_end_does_not_wait(house: EventBusHarness) -> None:
    house.commit(started(1), completed(1))

    assert watch.wait(house.switchboard, TASK, 0).record.status is Status.COMPLETED


def test_waiting_has_its_limit(house: EventBusHarness) -> None:
    with pytest.raises(TimeoutError):
        watch.wait(house.switchboard, TASK, 0.01)


def test_nobody_waits_for_an_unknown_task(house: EventBusHarness) -> None:
    with pytest.raises(NotFound):
        watch.wait(house.switchboard, task_id(2), PATIENCE_S)


def test_a_reboot_does_not_make_waiting_longer(house: EventBusHarness) -> None:
    house.switchboard.disconnect(OutcomeUnknown("restarts"))
    bus = house.bus
    now = Generation(bus, house.persistence, bus, bus, bus, bus, bus)
    with pytest.raises(TimeoutError):
        watch._next(house.switchboard, now, time.monotonic())

    house.switchboard.disconnect(Unavailable("has given up"))
    with pytest.raises(Unavailable, match="given up"):
        watch._next(house.switchboard, now, time.monotonic())


def test_waiting_outlives_a_reboot(house: EventBusHarness) -> None:
    other = start(EventBus, print)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(watch.wait, house.switchboard, TASK, PATIENCE_S)
        house.switchboard.disconnect(OutcomeUnknown("restarts"))
        stop(house.bus, PATIENCE_S)  # closes its mailboxes: `restarted`
        house.commit(started(1), completed(1))
        house.connect(other)

        assert waiting.result(PATIENCE_S).record.status is Status.COMPLETED
    stop(other, PATIENCE_S)


def test_waiting_outlives_events_that_cease_just_before(house: EventBusHarness) -> None:
    other = start(EventBus, print)
    ask(house.bus, CloseSubscriptions("restarted", stays=True))  # whoever waits has been told
    with ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(watch.wait, house.switchboard, TASK, PATIENCE_S)
        reading = threads.submit(list, house.stream())
        house.connect(other)
        house.commit(started(1), completed(1))
        tell(other, CloseSubscriptions("restarted"))  # the store tells the old bus

        assert waiting.result(PATIENCE_S).record.status is Status.COMPLETED
        assert shown(reading.result(PATIENCE_S)) == [("1.0", WHOLE), ("1.1", "done")]
    stop(other, PATIENCE_S)


def test_waiting_outlives_a_question_that_meets_the_reboot(house: EventBusHarness) -> None:
    dead = start(EventBus, print)
    stop(dead, PATIENCE_S)
    persistence = house.persistence
    house.connect(dead, persistence)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(watch.wait, house.switchboard, TASK, PATIENCE_S)
        reading = thread.submit(list, house.stream())
        house.commit(started(1), completed(1))
        house.connect(house.bus)

        assert waiting.result(PATIENCE_S).record.status is Status.COMPLETED
        assert shown(reading.result(PATIENCE_S)) == [("1.0", WHOLE), ("1.1", "done")]


def test_nobody_waits_for_a_queue_that_has_given_up(house: EventBusHarness) -> None:
    house.commit(started(1))
    house.send(1, 0, "a")
    reader = house.stream()
    next(reader)
    house.switchboard.disconnect(Unavailable("the queue has stopped: it crashed 4 times"))
    tell(house.bus, CloseSubscriptions("restarted"))

    with pytest.raises(Unavailable, match="has stopped"):
        next(reader)


def test_waiting_ends_with_the_queue(house: EventBusHarness) -> None:
    reader = house.stream()
    house.commit(started(1))
    house.send(1, 0, "a")
    assert next(reader).data == "a"
    tell(house.bus, CloseSubscriptions("shutdown"))

    with pytest.raises(Unavailable, match="shutting down"):
        next(reader)
