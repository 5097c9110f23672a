"""Deliveries of webhooks: an event of the queue on its way to a program that wants to know it."""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from .tasks import PublicRecord, Record

KEPT_ATTEMPTS = 5  # of one delivery: the newest
REPLY = 512  # characters of a reply that are kept


class DeliveryStatus(StrEnum):
    """Whether an event has been delivered."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class DeliveryAttempt(Struct, PublicRecord, frozen=True, kw_only=True):
    """One request of a delivery, made at `at`.

    `status` is the HTTP status of the answer, `reply` the first 512 characters of its body; `error`
    says why there was none, or why it was not good. All may be None.
    """

    at: datetime
    status: int | None = None
    reply: str | None = None
    error: str | None = None


class Delivery(Struct, PublicRecord, frozen=True, kw_only=True):
    """An event that is sent to a URL.

    - `id`, which the receiver gets as `webhook-id`: the same in each attempt. Ids sort by the order
      of events.
    - `event`, its name, and `task_id`, the task that it is about, or None.
    - `webhook` is the name of the webhook in the settings that wants it; None: the `callback_url`
      of the task. `url` is where it goes, without what may be secret.
    - `status`; `created_at`; `next_attempt_at` while it is pending, and `ended_at` after that.
    - `attempt` is the number of requests made, `attempts` the newest five of them; `tenant` that of
      the task.
    """

    id: str
    event: str
    task_id: str | None
    webhook: str | None
    url: str
    status: DeliveryStatus = DeliveryStatus.PENDING
    created_at: datetime
    next_attempt_at: datetime | None = None
    ended_at: datetime | None = None
    attempt: int = 0
    attempts: list[DeliveryAttempt] = []
    tenant: str | None = None


class StoredDelivery(Struct, frozen=True, kw_only=True):
    """A delivery, and what it needs besides: the complete `target`, and the `task` and other facts
    at the time of the event."""

    delivery: Delivery
    target: str
    task: Record | None = None
    backend: str | None = None
    reason: str | None = None


class DeliveryPage(Struct, PublicRecord, frozen=True):
    """A page of deliveries, newest first; `cursor` is where the next one begins, None after the
    last."""

    deliveries: list[Delivery]
    cursor: str | None = None


def is_seen_by(delivery: Delivery, tenant: str) -> bool:
    """Whether it concerns this tenant alone: webhooks of the settings are the operator's."""
    return delivery.tenant == tenant and delivery.webhook is None
