"""The routes of webhooks' deliveries."""

from typing import Any

from .. import routes
from ..requests import reading
from .answers import Handlers
from .feed import LocalQueue


def delivery_handlers(queue: LocalQueue) -> Handlers:
    def newest() -> Any:
        query = reading.query({"task_id", "status", "limit", "cursor"})
        texts = {name: values[-1] for name, values in query.items() if name != "limit"}
        return queue.list_deliveries(**texts, limit=reading.whole(query, "limit", 100))

    return {routes.LIST_DELIVERIES: newest}
