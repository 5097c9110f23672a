"""Anthropic's batches of messages: the same as OpenAI's, without a file of the client's own."""

import hashlib
from collections.abc import Generator
from typing import Any

import msgspec

from ...actors.core.anthropic.errors import error_body
from ...actors.core.anthropic.replies import request_id
from ...actors.core.intake import arguments
from ...actors.core.intake.batch_jobs import LineChecks, LineRefused
from ...actors.core.model.access_keys import Role
from ...actors.core.model.errors import Conflict, Forbidden, Invalid, NotFound, error_at
from ...actors.core.model.tasks import Batch, BatchJob, Priority
from ...actors.core.text.json_items import in_list
from ...actors.files.text_encoding import as_utf8
from .. import wire
from ..pagination import page_of_ids
from ..requests import reading
from ..requests.exchange import Routes
from ..requests.streaming import StreamingResponse
from ..wire import Json
from .openai_batches import named
from .queue_protocol import DropinQueue
from .queued_call import fallbacks_header, tenant_header

BATCHES = f"{wire.MESSAGES}/batches"
MOST = 1000  # in a page
WINDOW = "24h"  # as Anthropic has it
_REQUEST = frozenset({"custom_id", "params"})


def add_anthropic_batch_routes(
    app: Routes, queue: DropinQueue, max_upload: int, max_body: int
) -> None:
    """Add the routes; `max_upload` limits a batch's body in bytes, `max_body` each request."""

    def create() -> Json:
        tenant, others = tenant_header() or None, fallbacks_header()
        pieces = as_utf8(reading.pieces(max_upload), "the body", "body")
        checks = LineChecks(wire.MESSAGES, Priority.LOW, tenant)
        count, key = 0, arguments.key(reading.header("Idempotency-Key"))
        seen = hashlib.blake2b(digest_size=16)
        with queue.new_file() as file:
            for place, raw in in_list(pieces, "the body", "requests", max_body, key="requests"):
                value = reading.decode(raw, place, place, reading.current_yield_control())
                with error_at(place):
                    line = _line(value)
                    _check(checks, line)
                written = msgspec.json.encode(line) + b"\n"
                seen.update(written)
                file.write(written)
                count += 1
            if not count:
                raise Invalid("requests must be a list of at least one request", field="requests")
            file_id = file.save("requests.jsonl", "batch").id
        fields = {"input_file_id": file_id, "endpoint": wire.MESSAGES, "completion_window": WINDOW}
        try:
            batch = queue.create_batch(
                fields,
                tenant,
                fallback_models=others,
                idempotency_key=key,
                digest=seen.digest(),
            )
        except (Conflict, Forbidden, Invalid):
            queue.delete_file(file_id)
            raise
        if batch.job is not None and batch.job.input_file_id != file_id:  # an earlier batch
            queue.delete_file(file_id)
        return shown(batch)

    def listed() -> Json:
        query = reading.query({"after_id", "before_id", "limit"})
        limit = reading.page_limit(query, 20, MOST)
        older, newer = (query.get(name, [""])[-1] for name in ("after_id", "before_id"))
        if older and newer:
            raise Invalid("after_id cannot be given together with before_id", field="after_id")
        field = "after_id" if older else "before_id"
        with named(older or newer, field) as place:
            before, after = (place, "") if older else ("", place)
            found = queue.list_jobs(limit + 1, before, wire.MESSAGES, after)
        batches = found[-limit:] if newer else found[:limit]
        return page_of_ids([shown(batch) for batch in batches], len(found) > limit)

    def find(batch_id: str) -> tuple[Batch, BatchJob]:
        with named(batch_id, "id") as plain:
            batch = queue.get_batch(plain)
        if batch.job is None or batch.job.endpoint != wire.MESSAGES:
            raise NotFound(f"there is no batch {batch_id}", field="id")
        return batch, batch.job

    def cancel(batch_id: str) -> Json:
        with named(batch_id, "id"):
            return shown(queue.cancel_job(find(batch_id)[0].id))

    def delete(batch_id: str) -> Json:
        with named(batch_id, "id"):
            queue.delete_job(find(batch_id)[0].id)
        return {"id": batch_id, "type": "message_batch_deleted"}

    def results(batch_id: str) -> StreamingResponse:
        _, job = find(batch_id)
        if not job.status.is_final:
            raise Invalid(f"batch {batch_id} has not ended: it has no results yet", field="id")
        lines = _results(queue, [job.output_file_id, job.error_file_id])
        return StreamingResponse(lines, lines.close, "application/x-jsonl")

    app.post(BATCHES, callback=create, role=Role.USER)
    app.get(BATCHES, callback=listed, role=Role.READER, anywhere=True)
    app.get(
        f"{BATCHES}/<batch_id>",
        callback=lambda batch_id: shown(find(batch_id)[0]),
        role=Role.READER,
        anywhere=True,
    )
    app.post(f"{BATCHES}/<batch_id>/cancel", callback=cancel, role=Role.USER)
    app.route(f"{BATCHES}/<batch_id>", "DELETE", delete, role=Role.USER)
    app.get(f"{BATCHES}/<batch_id>/results", callback=results, role=Role.READER, anywhere=True)


def shown(batch: Batch) -> Json:
    """A batch, as Anthropic shows it."""
    job = batch.job
    assert job is not None
    batch_id, has_ended = f"msgbatch_{batch.id.replace('-', '')}", job.status.is_final
    status = "ended" if has_ended else "canceling" if job.cancelling_at else "in_progress"
    rest = batch.total - job.answered - job.refused if has_ended else 0
    is_cancelled = job.cancelling_at is not None
    ends = (job.completed_at, job.cancelled_at, job.expired_at, job.failed_at)
    return {
        "id": batch_id,
        "type": "message_batch",
        "processing_status": status,
        "request_counts": {
            "processing": 0 if has_ended else batch.total,
            "succeeded": job.answered,
            "errored": job.refused,
            "canceled": rest if is_cancelled or job.expired_at is None else 0,
            "expired": 0 if is_cancelled or job.expired_at is None else rest,
        },
        "created_at": batch.created_at,
        "expires_at": job.expires_at,
        "ended_at": next((end for end in ends if end is not None), None) if has_ended else None,
        "cancel_initiated_at": job.cancelling_at,
        "archived_at": None,
        "results_url": f"{BATCHES}/{batch_id}/results" if has_ended else None,
    }


def _line(value: Any) -> Json:
    """A request of the batch as a line of its file. Raises `Invalid`."""
    if not isinstance(value, dict) or not isinstance(value.get("params"), dict):
        raise Invalid("a request must be an object with custom_id and params", field="params")
    for name in value:
        if name not in _REQUEST:
            raise Invalid(f"{name} is not a field of a request", field=str(name))
    line = {"method": "POST", "url": wire.MESSAGES, "body": value["params"]}
    return {"custom_id": value.get("custom_id"), **line}


def _check(checks: LineChecks, line: Json) -> None:
    try:
        checks.task(line)
    except LineRefused as error:
        raise Invalid(error.message, field=error.field) from None


def _results(queue: DropinQueue, file_ids: list[str | None]) -> Generator[bytes, None, None]:
    for file_id in file_ids:
        if file_id is None:
            continue
        _, reader = queue.read_file(file_id)
        try:
            rest = b""
            for piece in reader:
                *lines, rest = (rest + piece).split(b"\n")
                if lines:
                    yield b"".join(map(_result, lines))
        finally:
            reader.close()


def _result(raw: bytes) -> bytes:
    """A line of the batch's files in Anthropic's form."""
    line = msgspec.json.decode(raw)
    response, error = line["response"], line["error"]
    result: Json = {"type": "canceled"}
    if response is not None and response["status_code"] == 200:
        result = {"type": "succeeded", "message": response["body"]}
    elif response is not None:
        message = response["body"]["error"]["message"]
        body = error_body(response["status_code"], message, request_id(response["request_id"]))
        result = {"type": "errored", "error": body}
    elif error["code"] == "batch_expired":
        result = {"type": "expired"}
    return msgspec.json.encode({"custom_id": line["custom_id"], "result": result}) + b"\n"
