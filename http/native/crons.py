"""The routes of crons."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from ...actors.api.queue_api import QueueAPI
from ...actors.base.cooperation import cooperatively
from ...actors.core.intake import arguments
from ...actors.core.intake.cron_schedule import upcoming
from ...actors.core.model.crons import Cron, CronAdded, IfExists, NewCron
from ...actors.core.model.errors import Invalid
from .. import routes
from ..bodies import Times
from ..requests import reading
from .answers import Handlers


class CronQueue(QueueAPI, Protocol):
    def add_cron(
        self, new: NewCron | Mapping[str, Any], *, if_exists: IfExists | None = None
    ) -> CronAdded: ...


def cron_handlers(queue: CronQueue, max_body: int) -> Handlers:
    def add() -> Any:
        if_exists = reading.query({"if_exists"}).get("if_exists")
        return queue.add_cron(
            reading.body(max_body), if_exists=arguments.if_exists(if_exists and if_exists[-1])
        )

    def update(cron_id: str) -> Any:
        return queue.update_cron_task(cron_id, reading.body(max_body))

    return {
        routes.LIST_CRONS: lambda: _filtered(queue.list_cron_tasks()),
        routes.ADD_CRON: add,
        routes.TEST_CRON: lambda: _try_out(reading.body(max_body)),
        routes.UPDATE_CRON: update,
    }


def _filtered(crons: list[Cron]) -> list[Cron]:
    """Apply the query: `enabled`, `name` (repeatable), `limit` and `offset`."""
    query = reading.query({"enabled", "name", "limit", "offset"})
    enabled, names = query.get("enabled", ["any"])[-1], query.get("name")
    if "enabled" in query and enabled not in ("true", "false"):
        raise Invalid("enabled must be true or false", field="enabled")
    start = reading.whole(query, "offset", 0)
    count = reading.whole(query, "limit", len(crons))
    matching = [
        cron
        for cron in crons
        if (enabled == "any" or cron.enabled is (enabled == "true"))
        and (names is None or cron.name in map(_text, names))
    ]
    return matching[start : start + count]


def _text(value: str) -> str:
    return reading.as_unicode(value, "name")


def _try_out(body: Any) -> Any:
    """The next times of a cron expression; creates no cron."""
    known = {"cron_expr", "timezone", "count"}
    if not isinstance(body, dict) or "cron_expr" not in body or not set(body) <= known:
        raise Invalid('the body must be {"cron_expr", "timezone", "count"}', field="cron_expr")
    expr, zone, count = body["cron_expr"], body.get("timezone", "UTC"), body.get("count", 5)
    times = upcoming(expr, zone, datetime.now(UTC), count)
    return Times(list(cooperatively(times, reading.current_yield_control())))
