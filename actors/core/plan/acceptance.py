"""From a submission to the record of an accepted task."""

from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from ..intake.submission import title_of
from ..messages import Submit
from ..model.tasks import Record, TaskType
from ..openai.translation import TAKEN_OPTIONS
from ..routing.routes import route_key
from .settle import utc


class Draft(Struct, frozen=True, array_like=True):
    """What a task's first record and its `Spec` are made from, but for the id.

    Encoded, it is little larger than the submission: batches wait in this form to be stored.
    """

    type: TaskType
    model: str
    priority: int
    title: str
    scheduled_at: datetime | None
    max_retries: int | None
    timeout_s: float | None
    deadline: datetime | None
    start_within: float | None
    remote_execution: bool
    backend: str | None
    tenant: str | None
    tags: list[str]
    route: str
    spec: bytes
    fallback_models: list[str] | None
    traceparent: str | None
    callback_url: str | None


def route_of(submit: Submit) -> str:
    """The submission's route. Options are beside the payload, or inside it as in Ollama's API."""
    new = submit.new
    inner = new.payload.get("options")
    options = {**inner, **new.options} if type(inner) is dict else new.options
    return route_key(
        new.model,
        options,
        backend=new.backend,
        remote=new.remote_execution,
        ollama_only=submit.ollama_only is not None,
        hints=not options.keys() <= TAKEN_OPTIONS,
        is_embed=new.type is TaskType.EMBED,
        fallbacks=new.fallback_models,
    )


def draft_of(submit: Submit) -> Draft:
    new = submit.new
    return Draft(
        new.type,
        new.model,
        new.priority,
        title_of(new),
        new.scheduled_at,
        new.max_retries,
        new.timeout_s,
        new.deadline,
        new.start_within,
        new.remote_execution,
        new.backend,
        new.tenant,
        new.tags,
        route_of(submit),
        submit.spec,
        new.fallback_models,
        new.traceparent,
        new.callback_url,
    )


def accept(
    task_id: str, submit: Submit, max_retries: int, now: float, cron_id: str | None = None
) -> Record:
    """The first record of a task; `max_retries` is the default for a task without its own."""
    draft, key = draft_of(submit), submit.key
    record = record_of(task_id, draft, max_retries, now, cron_id=cron_id, key=key)
    if submit.expires_in is None:
        return record
    return replace(record, deadline=utc(now + submit.expires_in))


def record_of(
    task_id: str,
    draft: Draft,
    max_retries: int,
    now: float,
    *,
    batch_id: str | None = None,
    cron_id: str | None = None,
    key: bytes | None = None,
    turn: int = 0,
) -> Record:
    """The first record of a draft's task; see `accept`. It is queued `turn` µs after `now`."""
    at = utc(now)
    queued_at = at + timedelta(microseconds=turn) if turn else at
    return Record(
        id=task_id,
        type=draft.type,
        model=draft.model,
        priority=draft.priority,
        title=draft.title,
        created_at=at,
        queued_at=max(queued_at, draft.scheduled_at or queued_at),
        scheduled_at=draft.scheduled_at,
        max_retries=max_retries if draft.max_retries is None else draft.max_retries,
        timeout_s=draft.timeout_s,
        deadline=draft.deadline,
        start_within=draft.start_within,
        remote_execution=draft.remote_execution,
        backend=draft.backend,
        batch_id=batch_id,
        cron_id=cron_id,
        tenant=draft.tenant,
        tags=draft.tags,
        fallback_models=draft.fallback_models,
        traceparent=draft.traceparent,
        callback_url=draft.callback_url,
        route=draft.route,
        size=len(draft.spec),
        key=key,
    )
