"""The routes of single tasks that take more than a task id."""

from typing import Any

from ...actors.core.intake.submission import check_object, own_key
from ...actors.core.model.errors import Invalid
from .. import pagination, routes
from ..requests import reading
from ..requests.exchange import current
from .answers import Handlers
from .feed import LocalQueue


def task_handlers(queue: LocalQueue, max_body: int) -> Handlers:
    def submit() -> Any:
        body = reading.body(max_body)
        key = reading.header("Idempotency-Key")
        key = own_key(body) if key is None else key
        check_object(body)  # the queue checks all other fields, once
        return queue.submit(body, idempotency_key=key)

    def get(task_id: str) -> Any:
        return queue.get_raw_task(task_id, wait=reading.wait_parameter())

    def list_page() -> Any:
        task_filter = reading.task_filter()
        page = queue.list_raw_page(task_filter)
        current().response_headers |= pagination.headers_of(task_filter, page)
        return page.tasks

    def priority(task_id: str) -> Any:
        body = reading.body(max_body)
        if not isinstance(body, dict) or set(body) != {"priority"}:
            raise Invalid('the body must be {"priority": …}', field="priority")
        return queue.update_task_priority(task_id, body["priority"])

    return {
        routes.SUBMIT: submit,
        routes.LIST_PAGE: list_page,
        routes.GET_TASK: get,
        routes.UPDATE_TASK_PRIORITY: priority,
    }
