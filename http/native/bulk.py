"""The routes that do the same to many tasks."""

from collections.abc import Callable
from typing import Any

import bottle

from ...actors.api.queue_api import BulkAPI
from ...actors.core.intake.bulk import BulkResult, Verb
from ...actors.core.model.errors import Invalid
from .. import wire
from ..requests import reading


def add_bulk_routes(app: bottle.Bottle, queue: BulkAPI, max_body: int) -> None:
    def add(verb: Verb, do: Callable[..., BulkResult], *more: str) -> None:
        app.post(
            f"{wire.TASKS}/{verb}", callback=lambda: do(**_chosen(reading.body(max_body), *more))
        )

    add(Verb.CANCEL, queue.cancel_tasks)
    add(Verb.RETRY, queue.retry_tasks)
    add(Verb.DELETE, queue.delete_tasks)
    add(Verb.PRIORITY, queue.reprioritize_tasks, "priority")


def _chosen(body: Any, *more: str) -> dict[str, Any]:
    """Which tasks are meant: those of `ids`, or those that `filter` matches."""
    if isinstance(body, dict):
        for way in ("ids", "filter"):
            if set(body) == {way, *more} and body[way] is not None:
                return body
    rest = "".join(f', "{name}": …' for name in more)
    ways = f'{{"ids": […]{rest}}} or {{"filter": {{…}}{rest}}}'
    raise Invalid(f"the body must be {ways}", field="ids")
