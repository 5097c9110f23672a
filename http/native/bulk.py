"""The routes that act on many tasks at once."""

from collections.abc import Callable
from typing import Any

from ...actors.api.queue_api import BulkAPI
from ...actors.core.intake.bulk import BulkResult
from ...actors.core.model.errors import Invalid
from .. import routes
from ..requests import reading
from .answers import Handlers


def bulk_handlers(queue: BulkAPI, max_body: int) -> Handlers:
    def many(do: Callable[..., BulkResult], *more: str) -> Callable[[], BulkResult]:
        return lambda: do(**_chosen(reading.body(max_body), *more))

    return {
        routes.CANCEL_TASKS: many(queue.cancel_tasks),
        routes.RETRY_TASKS: many(queue.retry_tasks),
        routes.DELETE_TASKS: many(queue.delete_tasks),
        routes.REPRIORITIZE_TASKS: many(queue.reprioritize_tasks, "priority"),
    }


def _chosen(body: Any, *more: str) -> dict[str, Any]:
    """The arguments of a bulk verb: `ids` or `filter`, and `more`. Raises `Invalid`."""
    if isinstance(body, dict):
        for way in ("ids", "filter"):
            if set(body) == {way, *more} and body[way] is not None:
                return body
    rest = "".join(f', "{name}": …' for name in more)
    ways = f'{{"ids": […]{rest}}} or {{"filter": {{…}}{rest}}}'
    raise Invalid(f"the body must be {ways}", field="ids")
