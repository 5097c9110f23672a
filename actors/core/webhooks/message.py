"""What a receiver gets."""

from datetime import UTC
from typing import Any

import msgspec
from msgspec import Struct

from ..messages.replies import StoredTask
from ..model.deliveries import StoredDelivery
from ..model.tasks import Spec, Task

RESULT = 256 << 10  # bytes of a result that is sent; a larger one is read from the queue
# What a task of a list is without, or what holds only while it waits.
_LEFT_OUT = ("payload", "options", "dialect", "waiting_for", "position", "eta_s")

_encode = msgspec.json.Encoder().encode
_decode_spec = msgspec.json.Decoder(Spec).decode


class WebhookRequest(Struct, frozen=True):
    """A request to a receiver. If it `is_trusted`, the settings name its URL, and it may go to any
    address."""

    delivery_id: str
    url: str
    headers: dict[str, str]
    body: bytes
    is_trusted: bool


def message_body(stored: StoredDelivery, task: Task | None, now: StoredTask | None) -> bytes:
    """The body of a delivery, as JSON: `type`, the event's name, its `timestamp`, and `data`.

    `data` has the `task` as in lists, with its `metadata` and `result`, or `backend` and `reason`,
    if the event has them. `now` is the task as it is stored, unless it has changed since: then both
    are null. So is a result of more than 256 KiB, which `result_omitted` says.
    """
    delivery = stored.delivery
    data: dict[str, Any] = {}
    if task is not None:
        data["task"], data["result_omitted"] = _task(task, now)
    if stored.backend is not None:
        data["backend"] = stored.backend
    if stored.reason is not None:
        data["reason"] = stored.reason
    at = delivery.created_at.astimezone(UTC)
    return _encode({"type": delivery.event, "timestamp": at, "data": data})


def _task(task: Task, now: StoredTask | None) -> tuple[dict[str, Any], bool]:
    fields: dict[str, Any] = msgspec.to_builtins(task)
    for name in _LEFT_OUT:
        del fields[name]
    if now is None:
        return fields, False
    fields["metadata"] = _decode_spec(now.spec).metadata
    if now.result is None:
        return fields, False
    if len(now.result) > RESULT:
        return fields, True
    fields["result"] = msgspec.Raw(now.result)
    return fields, False
