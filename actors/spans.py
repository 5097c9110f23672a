"""Exports tasks as spans of OpenTelemetry, as a subscriber of the event bus.

Needs the extra `otel`, and is imported only where an exporter is configured by OpenTelemetry's own
environment variables.
"""

import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from ollama_queue import __version__

from .base.mailbox import Closed
from .core.activity.tracing import span_id
from .core.model.errors import Unavailable
from .core.model.event_names import ENDS
from .core.model.events import EventRecord
from .core.model.tasks import Attempt, Record, TaskType
from .core.model.tasks import Status as TaskStatus
from .task_log import ListenToEvents, LossyMailbox, log

EVENTS = ENDS | {"task_retrying"}
INBOX_SIZE = 10_000
CLOSE_PATIENCE_S = 5.0
# The semantic conventions for generative AI (opentelemetry.io, gen_ai attributes).
OPERATIONS = {
    TaskType.CHAT: "chat",
    TaskType.GENERATE: "text_completion",
    TaskType.EMBED: "embeddings",
}
_SCOPE = InstrumentationScope("ollama_queue", __version__)


def spans_of(event: EventRecord, resource: Resource) -> Iterator[ReadableSpan]:
    """The spans that an event completes: of the attempt that ended, of the wait before the first,
    and of the whole task. Nothing if the trace is not sampled.

    Their ids follow from the task's, so that the model server's spans are children of its call's.
    Without a trace of its own, a task's is named by its id. No span holds text of users but the
    name of the model.
    """
    task = event.task
    if task is None or event.event not in EVENTS:
        return
    family = _Family(task, resource)
    if not family.is_sampled:
        return
    attempt = task.attempts[-1] if task.attempts else None
    if attempt is not None and attempt.attempt == task.attempt:
        if attempt.attempt == 1:
            yield family.wait(attempt)
        yield family.call(attempt)
    if event.event in ENDS and task.completed_at is not None:
        yield family.whole(task.completed_at)


class _Family:
    """The spans of one task."""

    def __init__(self, task: Record, resource: Resource) -> None:
        self._task, self._resource = task, resource
        trace, parent, flags = task.id.replace("-", ""), None, "01"
        if task.traceparent is not None:
            _, trace, parent, flags = task.traceparent.split("-")
        self.is_sampled = bool(int(flags, 16) & 1)
        self._trace = int(trace, 16)
        self._remote = None if parent is None else self._context(parent, is_remote=True)
        self._root = self._context(span_id(task.id, "task"))

    def _context(self, span: str, *, is_remote: bool = False) -> SpanContext:
        return SpanContext(self._trace, int(span, 16), is_remote, TraceFlags(1))

    def whole(self, end: datetime) -> ReadableSpan:
        task = self._task
        facts = {
            "ollama_queue.task.status": task.status.value,
            "ollama_queue.task.attempts": task.attempt,
            "ollama_queue.task.retries": task.retry_count,
        }
        is_error = task.status is TaskStatus.FAILED
        return self._span(
            "queue.task", self._root, self._remote, task.created_at, end, facts, is_error=is_error
        )

    def wait(self, attempt: Attempt) -> ReadableSpan:
        start = min(self._task.queued_at, attempt.started_at)
        context = self._context(span_id(self._task.id, "wait"))
        return self._span("queue.wait", context, self._root, start, attempt.started_at, {})

    def call(self, attempt: Attempt) -> ReadableSpan:
        task, operation = self._task, OPERATIONS[self._task.type]
        model = attempt.fallback or task.model
        facts: dict[str, Any] = {
            "gen_ai.operation.name": operation,
            "gen_ai.request.model": model,
            "ollama_queue.backend": attempt.backend or "",
            "ollama_queue.attempt": attempt.attempt,
        }
        is_error = attempt.error is not None
        if is_error:
            facts["error.type"] = str(attempt.status or "_OTHER")
        elif task.status is TaskStatus.COMPLETED:
            facts["gen_ai.usage.input_tokens"] = task.prompt_tokens
            facts["gen_ai.usage.output_tokens"] = task.tokens
        return self._span(
            f"{operation} {model}",
            self._context(span_id(task.id, str(attempt.attempt))),
            self._root,
            attempt.started_at,
            attempt.ended_at,
            facts,
            kind=SpanKind.CLIENT,
            is_error=is_error,
        )

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        start: datetime,
        end: datetime,
        facts: Mapping[str, Any],
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        is_error: bool = False,
    ) -> ReadableSpan:
        task = self._task
        return ReadableSpan(
            name=name,
            context=context,
            parent=parent,
            resource=self._resource,
            attributes={
                "ollama_queue.task.id": task.id,
                "ollama_queue.task.priority": task.priority,
                **facts,
            },
            kind=kind,
            status=Status(StatusCode.ERROR if is_error else StatusCode.UNSET),
            start_time=_nanoseconds(start),
            end_time=_nanoseconds(end),
            instrumentation_scope=_SCOPE,
        )


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1e6) * 1000


class SpanWriter(threading.Thread):
    """Passes the spans of events to a processor, in a thread of its own. Subscribes again after a
    reboot; what it cannot keep up with is left out."""

    def __init__(self, listen: ListenToEvents, processor: SpanProcessor) -> None:
        super().__init__(name="ollama-queue-spans", daemon=True)
        self._listen, self._processor = listen, processor
        self._resource = Resource.create({"service.name": "ollama-queue"})
        self._is_closed = False
        self._begin()
        self.start()

    def _begin(self) -> None:
        self._inbox = LossyMailbox(INBOX_SIZE)
        self._leave = self._listen(self._inbox, EVENTS)

    def run(self) -> None:
        while True:
            try:
                while True:
                    self._write(*self._inbox.next())
            except Closed as closed:
                if self._is_closed or closed.message != "restarted":
                    return
            try:
                self._begin()
            except Unavailable:
                return
            if self._is_closed:
                self._hang_up()

    def _write(self, events: list[EventRecord], missed: int) -> None:
        for event in events:
            for span in spans_of(event, self._resource):
                self._processor.on_end(span)
        if missed:
            log.warning("the export of spans could not keep up: %d events are missing", missed)

    def close(self) -> None:
        """Export what has been received, within some seconds."""
        self._is_closed = True
        self._hang_up()
        self.join(CLOSE_PATIENCE_S)
        self._processor.shutdown()

    def _hang_up(self) -> None:
        self._leave()
        self._inbox.close("unsubscribed")


def export_spans(listen: ListenToEvents) -> SpanWriter:
    """Export spans by OTLP over HTTP, to where OpenTelemetry's environment variables say."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return SpanWriter(listen, BatchSpanProcessor(OTLPSpanExporter()))
