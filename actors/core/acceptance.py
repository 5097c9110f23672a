"""From what was asked to the record of an accepted task."""

from collections.abc import Mapping

from ollama_queue.actors.core.messages import Submit
from ollama_queue.actors.core.records import Record
from ollama_queue.actors.core.routing import route_key
from ollama_queue.actors.core.settling import utc
from ollama_queue.actors.core.submission import title_of


def route_of(asked: Submit) -> str:
    """Where it may run. Options stand beside the payload, or in it as Ollama has them."""
    new = asked.new
    inner = new.payload.get("options")
    options = {**inner, **new.options} if isinstance(inner, Mapping) else new.options
    return route_key(
        new.model,
        options,
        backend=new.backend,
        remote=new.remote_execution,
        ollama_only=asked.ollama_only is not None,
    )


def accept(
    task_id: str, asked: Submit, max_retries: int, now: float, batch_id: str | None = None
) -> Record:
    """The first record of a task; `max_retries` is the queue's setting, for a task without one."""
    new, at = asked.new, utc(now)
    return Record(
        id=task_id,
        type=new.type,
        model=new.model,
        priority=new.priority,
        title=title_of(new),
        created_at=at,
        queued_at=max(at, new.scheduled_at or at),
        scheduled_at=new.scheduled_at,
        max_retries=max_retries if new.max_retries is None else new.max_retries,
        timeout_s=new.timeout_s,
        remote_execution=new.remote_execution,
        backend=new.backend,
        batch_id=batch_id,
        cron_id=asked.firing.cron.id if asked.firing else None,
        tenant=new.tenant,
        tags=new.tags,
        route=route_of(asked),
        size=len(asked.spec),
        key=asked.key,
    )
