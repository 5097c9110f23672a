"""The arguments of verbs about deliveries."""

from ..messages import ListDeliveries
from ..model.deliveries import DeliveryStatus
from ..model.errors import Invalid
from . import arguments
from .arguments import OfTask

ID = 64  # characters


def query(
    task_id: OfTask | None = None,
    status: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
    tenant: str | None = None,
) -> ListDeliveries:
    """The command that lists deliveries. Raises `Invalid`."""
    return ListDeliveries(
        limit=arguments.whole(limit, "limit", 1, 1000),
        cursor="" if cursor is None else _id(cursor, "cursor"),
        task_id="" if task_id is None else arguments.task_id(task_id),
        status="" if status is None else _status(status),
        tenant=tenant,
    )


def delivery_id(raw: object) -> str:
    """The id of a delivery. Raises `Invalid`."""
    return _id(raw, "delivery_id")


def _status(raw: object) -> str:
    status = arguments.text(raw, "status", ID)
    if status not in list(DeliveryStatus):
        raise Invalid(f"status must be one of {', '.join(DeliveryStatus)}", field="status")
    return status


def _id(raw: object, field: str) -> str:
    plain = arguments.text(raw, field, ID)
    if not (plain.isascii() and plain.isprintable()):
        wanted = "the id of a delivery, such as msg_000000010000002a00"
        raise Invalid(f"{field} must be {wanted}", field=field)
    return plain
