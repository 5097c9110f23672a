"""Webhooks over `QueueManager` and over both clients: sent, shown, and sent again."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ollama_queue import Delivery, Invalid, NotFound
from tests.support.fakes.model_server import Answer
from tests.support.fakes.webhook_receiver import WebhookReceiver, answer
from tests.support.harness.doors import Door, EmbeddedDoor, ask, in_this_process

PATIENCE_S = 60.0


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as made:
        yield made


def seen(look: Callable[[], Any], wanted: Any) -> None:
    """Looks until it sees what is wanted: no event tells of what a delivery came to."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := look()) != wanted:
        assert time.monotonic() < deadline, f"{found} instead of {wanted}"


def settled(door: Door, attempts: int) -> Delivery:
    """The only delivery, once it has been tried as often."""

    def delivery() -> Delivery:
        (found,) = door.queue.list_deliveries().deliveries
        return found

    seen(lambda: delivery().attempt >= attempts, True)
    return delivery()


def test_the_end_of_a_task_is_sent(door: Door, receiver: WebhookReceiver) -> None:
    task = door.run(ask(callback_url=receiver.url, metadata={"order": 7}))
    (request,) = receiver.wait_for(1)
    assert request.event == "task_completed"
    assert request.task["id"] == task.id
    assert request.task["status"] == "completed"
    assert request.task["metadata"] == {"order": 7}
    assert request.task["result"] == task.result
    delivery = settled(door, 1)
    assert (delivery.status, delivery.task_id, delivery.webhook) == ("delivered", task.id, None)
    assert delivery.id == request.headers["webhook-id"]
    assert delivery.attempts[0].status == 204
    assert door.queue.list_deliveries(task_id=task.id, status="delivered").deliveries == [delivery]
    assert door.queue.list_deliveries(status="failed").deliveries == []
    assert door.queue.list_deliveries(cursor=delivery.id).deliveries == []


def test_a_failure_is_sent_with_its_error(door: Door, receiver: WebhookReceiver) -> None:
    door.fake.script(Answer(400, {"error": "not this one"}))
    door.run(ask(callback_url=receiver.url))
    (request,) = receiver.wait_for(1)
    assert request.event == "task_failed"
    assert "not this one" in request.task["error"]
    assert request.task["result"] is None


def counted(door: EmbeddedDoor) -> tuple[int, dict[str, int]]:
    measured = door.manager.measure().webhooks
    return measured.waiting, dict(measured.attempts)


@in_this_process
def test_attempts_and_what_waits_are_measured(
    door: EmbeddedDoor, receiver: WebhookReceiver
) -> None:
    receiver.play = answer(503)
    door.run(ask(callback_url=receiver.url))
    waiting = settled(door, 1)
    seen(lambda: counted(door), (1, {"retried": 1}))
    receiver.play = answer(204)
    door.queue.retry_delivery(waiting.id)
    settled(door, 2)
    seen(lambda: counted(door), (0, {"retried": 1, "delivered": 1}))


def test_what_is_not_accepted_waits_over_a_reboot_and_is_sent_again(
    door: Door, receiver: WebhookReceiver
) -> None:
    receiver.play = answer(503)
    door.run(ask(callback_url=receiver.url))
    waiting = settled(door, 1)
    assert (waiting.status, waiting.attempts[0].status) == ("pending", 503)
    assert waiting.next_attempt_at is not None
    door.reboot()

    receiver.play = answer(200)
    again = door.queue.retry_delivery(waiting.id)
    assert again.id == waiting.id
    first, second = receiver.wait_for(2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert settled(door, 2).status == "delivered"

    door.queue.retry_delivery(waiting.id)
    receiver.wait_for(3)


def test_one_that_is_gone_is_given_up(door: Door, receiver: WebhookReceiver) -> None:
    receiver.play = answer(410)
    door.run(ask(callback_url=receiver.url))
    delivery = settled(door, 1)
    assert (delivery.status, delivery.next_attempt_at) == ("failed", None)
    assert delivery.ended_at is not None


def test_bad_arguments_are_refused(door: Door) -> None:
    for arguments, field in (
        ({"status": "lost"}, "status"), ({"limit": 0}, "limit"), ({"limit": 1001}, "limit"),
        ({"cursor": "x" * 65}, "cursor"),
    ):  # fmt: skip
        with pytest.raises(Invalid) as refusal:
            door.queue.list_deliveries(**arguments)  # type: ignore[arg-type]
        assert refusal.value.field == field
    with pytest.raises(NotFound):
        door.queue.retry_delivery("msg_nothing")
    with pytest.raises(Invalid):
        door.queue.retry_delivery("")
    with pytest.raises(Invalid) as refusal:
        door.queue.submit_task(ask(callback_url="ftp://a"))
    assert refusal.value.field == "callback_url"
