"""`/readyz` and `/metrics`: whether the queue takes tasks, and how it is doing."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol, TypeVar

from ...actors.core.activity.measures import FleetMeasures, QueueMeasures
from ...actors.core.model.errors import QueueError, Unavailable
from .. import routes
from ..bodies import Ready
from ..requests import reading
from ..requests.exchange import Content, current
from .answers import Handlers

T = TypeVar("T")


class MeasuredQueue(Protocol):
    """A queue that says how it is doing."""

    def measure(self) -> QueueMeasures: ...

    def measure_fleet(self) -> FleetMeasures | None: ...

    def check_ready(self) -> list[str]: ...

    def do_aside(self, work: Callable[[], T]) -> T: ...


def health_handlers(queue: MeasuredQueue, connections: Callable[[], Mapping[str, int]]) -> Handlers:
    """The handlers; `connections` returns how many of each kind are open."""

    def ready() -> Ready:
        reading.query(set())
        try:
            return Ready("ready", queue.check_ready(), _role(queue.measure_fleet()))
        except QueueError as error:
            if current().caller.is_unlimited:
                raise
            raise Unavailable("not ready", retry_after_s=error.retry_after_s) from None

    def metrics() -> Content:
        reading.query(set())
        fleet = queue.measure_fleet()
        measures = queue.measure() if fleet is None or fleet.leads else None
        # Importing the library takes 50 ms the first time, writing a large page as long.
        body = queue.do_aside(partial(_page, measures, dict(connections()), fleet))
        current().set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        return Content(body)

    return {routes.READYZ: ready, routes.METRICS: metrics}


def _role(fleet: FleetMeasures | None) -> str | None:
    """What a server does among several; None for one alone."""
    if fleet is None:
        return None
    return "leader" if fleet.leads else "follower"


def _page(
    measures: QueueMeasures | None, connections: Mapping[str, int], fleet: FleetMeasures | None
) -> bytes:
    from .metrics import page

    return page(measures, connections, fleet)
