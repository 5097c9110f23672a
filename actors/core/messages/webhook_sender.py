"""To the WebhookSender: commands of doors, and how its requests have ended."""

from msgspec import Struct

from ..activity.measures import WebhookMeasures
from ..model.deliveries import Delivery, StoredDelivery
from ..model.errors import QueueError
from .command import ChangeCommand, Command
from .replies import DueDeliveries, StoredTask
from .wake import Wake


class RetryDelivery(ChangeCommand[Delivery], frozen=True):
    """Make the next attempt of a delivery now, also if it has ended. Reply: `Delivery`, once that
    is on disk; `NotFound`."""

    delivery_id: str


class MeasureWebhooks(Command[WebhookMeasures], frozen=True):
    """Reply: `WebhookMeasures`."""


class DueFound(Struct, frozen=True):
    """Deliveries to make; None if they could not be read."""

    due: DueDeliveries | None


class SubjectRead(Struct, frozen=True):
    """The task that a delivery is about; None if it has changed since the event, or is gone."""

    delivery_id: str
    task: StoredTask | None


class DeliveryAnswered(Struct, frozen=True):
    """The request of a delivery has ended: the `status` and the beginning of the body of its
    answer, or why there was none."""

    delivery_id: str
    status: int | None = None
    reply: str | None = None
    error: str | None = None


class DeliverySaved(Struct, frozen=True):
    """The outcome of a request is on disk."""

    delivery_id: str


class DeliveryRead(Struct, frozen=True):
    """The delivery that a `RetryDelivery` is for, or why it could not be read."""

    number: int
    found: StoredDelivery | QueueError


class DeliveryScheduled(Struct, frozen=True):
    """What a `RetryDelivery` has changed is on disk, or why it is not."""

    number: int
    reply: Delivery | QueueError


ToWebhookSender = (
    RetryDelivery
    | MeasureWebhooks
    | DueFound
    | SubjectRead
    | DeliveryAnswered
    | DeliverySaved
    | DeliveryRead
    | DeliveryScheduled
    | Wake
)
