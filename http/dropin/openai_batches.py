"""OpenAI's batches: tasks from the lines of an uploaded file."""

from datetime import datetime

from ...actors.core.access.keys import Role
from ...actors.core.model.errors import NotFound
from ...actors.core.model.ids import plain_batch_id
from ...actors.core.model.tasks import Batch, BatchStatus
from .. import wire
from ..requests import reading
from ..requests.exchange import Routes
from ..wire import Json
from .openai_files import page_of
from .queue_protocol import DropinQueue
from .queued_call import tenant_header

MOST = 100  # in a page
_TIMES = (
    *("in_progress_at", "expires_at", "finalizing_at", "completed_at", "failed_at"),
    *("expired_at", "cancelling_at", "cancelled_at"),
)


def add_openai_batch_routes(app: Routes, queue: DropinQueue, max_body: int) -> None:
    """Add the routes; `max_body` limits a request body in bytes."""

    def create() -> Json:
        return shown(queue.create_batch(reading.json_object(max_body), tenant_header() or None))

    def listed() -> Json:
        query = reading.query({"after", "limit"})
        limit = reading.page_limit(query, 20, MOST)
        after = query.get("after", [""])[-1]
        batches = queue.list_jobs(limit + 1, _plain(after, "after") if after else "")
        return page_of([shown(each) for each in batches[:limit]], len(batches) > limit)

    def get(batch_id: str) -> Json:
        return shown(queue.get_batch(_plain(batch_id, "id")))

    def cancel(batch_id: str) -> Json:
        return shown(queue.cancel_job(_plain(batch_id, "id")))

    app.post(wire.BATCHES, callback=create, role=Role.USER)
    app.get(wire.BATCHES, callback=listed, role=Role.READER)
    app.get(f"{wire.BATCHES}/<batch_id>", callback=get, role=Role.READER)
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


def _plain(batch_id: str, field: str) -> str:
    """The queue's own id of a batch. Raises `NotFound` for what is none."""
    plain = plain_batch_id(batch_id)
    if plain is None:
        raise NotFound(f"there is no batch {batch_id}", field=field)
    return plain
