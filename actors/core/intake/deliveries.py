"""The arguments of verbs about deliveries."""

from ..messages import ListDeliveries
from ..model.deliveries import DeliveryStatus
from ..model.errors import Invalid
from . import arguments
from .arguments import OfTask

_STATUS_WANTED = f"status must be one of {', '.join(DeliveryStatus)}"


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
    return _id(raw, "id")


def _status(raw: object) -> str:
    if isinstance(raw, str) and raw in list(DeliveryStatus):
        return raw
    raise Invalid(_STATUS_WANTED, field="status")


def _id(raw: object, field: str) -> str:
    if isinstance(raw, str) and raw.isascii() and raw.isprintable() and 0 < len(raw) <= 64:
        return raw
    wanted = "the id of a delivery, such as msg_000000010000002a00"
    raise Invalid(f"{field} must be {wanted}", field=field)
