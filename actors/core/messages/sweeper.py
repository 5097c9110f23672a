"""To the Sweeper: answers to its requests."""

from msgspec import Struct

from .persistence import Expired
from .wake import Wake


class Swept(Struct, frozen=True):
    """The scheduler has answered a `Delete`: the task is gone, or has changed and stays."""

    task_id: str


ToSweeper = Expired | Swept | Wake
