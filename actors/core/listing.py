"""Which tasks to list."""

from msgspec import Struct

from ollama_queue.actors.core.records import Status


class TaskFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which tasks to list, newest first: `limit` 1 to 1000, `offset` 0 to 10,000."""

    status: list[Status] = []
    limit: int = 100
    offset: int = 0
