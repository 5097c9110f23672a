"""The routes of history and usage."""

from typing import Any

from .. import routes
from ..requests import reading
from .answers import Handlers
from .feed import LocalQueue


def report_handlers(queue: LocalQueue) -> Handlers:
    def history() -> Any:
        query = reading.texts({"span", "by", "tenant"})
        return queue.get_history(**query)

    def usage() -> Any:
        query = reading.texts({"since", "until", "by", "tenant"})
        return queue.get_usage(**query)

    return {routes.GET_HISTORY: history, routes.GET_USAGE: usage}
