"""OpenAI's batches: tasks from the lines of an uploaded file."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from ...actors.core.model.access_keys import Role
from ...actors.core.model.errors import NotFound, QueueError
from ...actors.core.model.ids import plain_batch_id
from ...actors.core.model.tasks import Batch, BatchStatus
from .. import wire
from ..requests import reading
from ..requests.exchange import Routes
from ..wire import Json
from .openai_files import page_of
from .queue_protocol import DropinQueue
from .queued_call import fallbacks_header, tenant_header

MOST = 100  # in a page
_TIMES = (
    *("in_progress_at", "expires_at", "finalizing_at", "completed_at", "failed_at"),
    *("expired_at", "cancelling_at", "cancelled_at"),
)


def add_openai_batch_routes(app: Routes, queue: DropinQueue, max_body: int) -> None:
    """Add the routes; `max_body` limits a request body in bytes."""

    def create() -> Json:
        body, tenant = reading.json_object(max_body), tenant_header() or None
        key, others = reading.header("Idempotency-Key"), fallbacks_header()
        return shown(queue.create_batch(body, tenant, fallback_models=others, idempotency_key=key))

    def listed() -> Json:
        query = reading.query({"after", "limit"})
        limit = reading.page_limit(query, 20, MOST)
        after = query.get("after", [""])[-1]
        with named(after, "after") as before:
            batches = queue.list_jobs(limit + 1, before)
        return page_of([shown(each) for each in batches[:limit]], len(batches) > limit)

    def get(batch_id: str) -> Json:
        with named(batch_id, "id") as plain:
            return shown(queue.get_batch(plain))

    def cancel(batch_id: str) -> Json:
        with named(batch_id, "id") as plain:
            return shown(queue.cancel_job(plain))

    app.post(wire.BATCHES, callback=create, role=Role.USER)
    app.get(wire.BATCHES, callback=listed, role=Role.READER, anywhere=True)
    app.get(f"{wire.BATCHES}/<batch_id>", callback=get, role=Role.READER, anywhere=True)
    app.post(f"{wire.BATCHES}/<batch_id>/cancel", callback=cancel, role=Role.USER)


def shown(batch: Batch) -> Json:
    """A batch, as OpenAI shows it. Raises `NotFound` for one that is not from a file."""
    job = batch.job
    if job is None:
        raise NotFound(f"batch {batch.id} is not from a file", field="id")
    errors = [
        {"code": each.code, "message": each.message, "param": each.param, "line": each.line}
        for each in job.faults
    ]
    has_ended = job.status.is_final and job.status is not BatchStatus.FAILED
    usage = job.usage
    return {
        "id": f"batch_{batch.id.replace('-', '')}",
        "object": "batch",
        "endpoint": job.endpoint,
        "model": job.model,
        "errors": {"object": "list", "data": errors} if errors else None,
        "input_file_id": job.input_file_id,
        "completion_window": job.completion_window,
        "status": job.status,
        "output_file_id": job.output_file_id,
        "error_file_id": job.error_file_id,
        "created_at": _seconds(batch.created_at),
        **{name: _seconds(getattr(job, name)) for name in _TIMES},
        "request_counts": {
            "total": batch.total,
            "completed": job.answered if has_ended else batch.completed,
            "failed": job.refused if has_ended else batch.failed,
        },
        "usage": {
            "input_tokens": usage.input,
            "input_tokens_details": {"cached_tokens": usage.cached},
            "output_tokens": usage.output,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.input + usage.output,
        }
        if has_ended
        else None,
        "metadata": job.metadata,
    }


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())


@contextmanager
def named(batch_id: str, field: str) -> Iterator[str]:
    """The queue's own id of the batch that a request names in `field`; "" if it names none. Errors
    inside name it as the request does. Raises `NotFound` for what is no id."""
    plain = plain_batch_id(batch_id) if batch_id else ""
    if plain is None:
        raise NotFound(f"there is no batch {batch_id}", field=field)
    try:
        yield plain
    except QueueError as error:
        if not plain:
            raise
        message, wait_s = error.message.replace(plain, batch_id), error.retry_after_s
        own = error.field and field
        raise type(error)(message, field=own, retry_after_s=wait_s) from None
