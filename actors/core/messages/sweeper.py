"""To the Sweeper: answers to its requests."""

from msgspec import Struct

from .persistence import Expired
from .wake import Wake


class Swept(Struct, frozen=True):
    """The scheduler has answered a `Delete`: the task is gone, or has changed and stays."""

    task_id: str


class ExpiredFiles(Struct, frozen=True):
    """The ids of the files to delete."""

    file_ids: tuple[str, ...]


class ForgottenBatches(Struct, frozen=True):
    """The ids of the batches whose records to delete."""

    batch_ids: tuple[str, ...]


class EndedDeliveries(Struct, frozen=True):
    """The ids of the deliveries to delete."""

    delivery_ids: tuple[str, ...]


ToSweeper = Expired | Swept | ExpiredFiles | ForgottenBatches | EndedDeliveries | Wake
