"""Registers the routes of the table, each with its handler or directly with its verb."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from .. import routes
from ..requests.exchange import Routes
from ..routes import HttpRoute
from . import openapi
from .answers import Handlers, shown
from .backends import backend_handlers
from .batches import batch_handlers
from .bulk import bulk_handlers
from .crons import CronQueue, cron_handlers
from .deliveries import delivery_handlers
from .feed import feed_handlers
from .health import MeasuredQueue, health_handlers
from .keys import KeyedQueue, key_handlers
from .reports import ReportingQueue, report_handlers
from .tasks import task_handlers
from .websocket_session import run_session


class NativeQueue(ReportingQueue, CronQueue, MeasuredQueue, KeyedQueue, Protocol):
    """The queue verbs that the native routes call."""


def add_native_routes(
    app: Routes,
    queue: NativeQueue,
    max_body: int,
    max_upload: int,
    connections: Callable[[], Mapping[str, int]],
) -> None:
    """Add all routes; `max_body` limits a request body in bytes, `max_upload` that of a batch.
    `connections` returns how many connections of each kind are open.

    A verb that takes only its path's parameter is its own handler.
    """
    handlers: Handlers = {
        **task_handlers(queue, max_body),
        **bulk_handlers(queue, max_body),
        **batch_handlers(queue, max_upload, max_body),
        **delivery_handlers(queue),
        **cron_handlers(queue, max_body),
        **backend_handlers(queue, max_body),
        **key_handlers(queue, max_body),
        **feed_handlers(queue, run_session),
        **report_handlers(queue),
        **health_handlers(queue, connections),
        routes.HEALTHZ: lambda: None,
        routes.OPENAPI: openapi.document,
    }
    for route in routes.ROUTES:
        handle = handlers.get(route) or getattr(queue, route.verb)
        app.route(
            _rule(route),
            route.method,
            _answering(handle),
            role=route.role,
            anywhere=route.anywhere,
        )


def _rule(route: HttpRoute[Any]) -> str:
    """The path in Bottle's syntax."""
    return re.sub(r"{(\w+)}", r"<\1>", route.path)


def _answering(handle: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **path: shown(handle(**path))
