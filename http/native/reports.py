"""The routes of history and usage."""

from typing import Any

from ...actors.core.model.errors import Forbidden
from .. import routes
from ..requests import reading
from ..requests.exchange import current
from .answers import Handlers
from .feed import LocalQueue


def report_handlers(queue: LocalQueue) -> Handlers:
    def history() -> Any:
        query = _own(reading.texts({"span", "by", "tenant"}))
        return queue.get_history(**query)

    def usage() -> Any:
        query = _own(reading.texts({"since", "until", "by", "tenant"}))
        return queue.get_usage(**query)

    return {routes.GET_HISTORY: history, routes.GET_USAGE: usage}


def _own(query: dict[str, str]) -> dict[str, str]:
    """The query, of the caller's tenant if its key has one. Raises `Forbidden` for another."""
    caller = current().caller
    if caller.tenant is None:
        return query
    if not caller.may_see(query.get("tenant", caller.tenant)):
        raise Forbidden(f"the key {caller.name} sees its own tenant only", field="tenant")
    return {**query, "tenant": caller.tenant}
