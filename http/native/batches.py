"""The routes of batches, which are submitted atomically."""

import time
from collections.abc import Iterator
from typing import Any

from ...actors.core.intake.submission import check_object
from ...actors.core.model.errors import Invalid, placed
from ...actors.core.model.tasks import Status
from ...actors.core.text.json_items import in_lines, in_list
from ...actors.files.text_encoding import as_utf8
from .. import routes, wire
from ..requests import reading
from ..requests.exchange import current
from .answers import Handlers, Item, shown
from .feed import LocalQueue


def batch_handlers(queue: LocalQueue, max_upload: int, max_body: int) -> Handlers:
    """The handlers; `max_upload` limits a batch's body in bytes, `max_body` each of its tasks."""

    def submit() -> Any:
        wait = reading.wait_parameter()
        key = reading.header("Idempotency-Key")
        submitted = queue.submit_batch(_tasks(max_upload, max_body), idempotency_key=key)
        answer = shown(submitted)
        if wait is not None:
            answer.results = _results(queue, submitted.task_ids, wait)
        return answer

    def newest() -> Any:
        query = reading.query({"limit"})
        return queue.list_batches(reading.whole(query, "limit", 100))

    return {routes.SUBMIT_BATCH: submit, routes.LIST_BATCHES: newest}


def _results(queue: LocalQueue, task_ids: list[str], wait: float) -> list[Item]:
    """One item per task, in order, once all have ended or `wait` seconds have passed."""
    deadline = time.monotonic() + wait
    items = []
    for task_id in task_ids:
        task = queue.get_raw_task(task_id, wait=max(0.0, deadline - time.monotonic()))
        error = task.error if task.status is Status.FAILED else None
        items.append(Item(task.id, task.status, task.result, error, task.model_used))
    return items


def _tasks(max_upload: int, max_body: int) -> Iterator[dict[str, Any]]:
    """The body's tasks as they arrive, from an array, `{"tasks": […]}`, or JSON lines."""
    pieces = as_utf8(reading.pieces(max_upload), "the body", "body")
    is_lines = current().content_type == wire.NDJSON
    yield_control = reading.current_yield_control()
    items = (in_lines if is_lines else in_list)(pieces, "the body", "body", max_body)
    for index, (place, item) in enumerate(items):
        field = place if place.startswith("tasks") else "body"
        raw = reading.decode(item, place, field, yield_control)
        try:
            check_object(raw)
        except Invalid as error:
            raise placed(error, f"tasks[{index}]") from None
        yield raw
