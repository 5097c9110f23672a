"""Spans of tasks: their ids, times and attributes, to an exporter in memory and over OTLP."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ollama_queue.actors.core.activity.tracing import child_of, is_export_configured
from ollama_queue.actors.spans import SpanWriter, export_spans
from tests.support.fakes.model_server import Answer
from tests.support.harness.app import AppHarness

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{CALLER}-01"
UNSAMPLED = f"00-{TRACE}-{CALLER}-00"
TASK = {"type": "generate", "model": "smollm2", "prompt": "a secret"}


@pytest.fixture
def house(tmp_path: Any) -> Iterator[AppHarness]:
    made = AppHarness(tmp_path)
    yield made
    made.close()


class Watched(SpanProcessor):
    """Passes spans on; `ended` is set by the last span of a task."""

    def __init__(self, processor: SpanProcessor) -> None:
        self._processor = processor
        self.ended = threading.Event()

    def on_end(self, span: ReadableSpan) -> None:
        self._processor.on_end(span)
        if span.name == "queue.task":
            self.ended.set()

    def shutdown(self) -> None:
        self._processor.shutdown()


def run(house: AppHarness, **fields: Any) -> tuple[str, list[ReadableSpan]]:
    """Run a task; returns its id and its spans."""
    exporter = InMemorySpanExporter()
    processor = Watched(SimpleSpanProcessor(exporter))
    writer = SpanWriter(house.queue.listen, processor)
    task_id = house.queue.submit_task({**TASK, **fields})
    house.queue.wait(task_id, timeout=10)
    if fields.get("traceparent") == UNSAMPLED:
        house.done()  # whose spans come after
    assert processor.ended.wait(10)
    writer.close()
    spans = exporter.get_finished_spans()
    own = [span for span in spans if (span.attributes or {})["ollama_queue.task.id"] == task_id]
    return task_id, own


def hexadecimal(number: int) -> str:
    return f"{number:016x}"


def test_a_task_has_spans_of_its_wait_its_call_and_the_whole(house: AppHarness) -> None:
    task_id, [wait, call, whole] = run(house, traceparent=PARENT)

    assert [wait.name, call.name, whole.name] == [
        "queue.wait",
        "text_completion smollm2",
        "queue.task",
    ]
    contexts = [span.context for span in (wait, call, whole)]
    assert all(context is not None for context in contexts)
    assert {f"{context.trace_id:032x}" for context in contexts if context} == {TRACE}
    assert whole.parent is not None
    assert hexadecimal(whole.parent.span_id) == CALLER
    assert wait.parent == call.parent == whole.context
    sent = child_of(PARENT, task_id, 1).split("-")[2]
    assert call.context is not None
    assert hexadecimal(call.context.span_id) == sent
    assert wait.end_time == call.start_time
    times = [time for span in (wait, call, whole) for time in (span.start_time, span.end_time)]
    assert all(times)


def test_a_call_has_the_attributes_of_the_conventions(house: AppHarness) -> None:
    task_id, [_, call, _] = run(house, traceparent=PARENT)
    task = house.queue.get_task(task_id)

    assert dict(call.attributes or {}) == {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.request.model": "smollm2",
        "gen_ai.usage.input_tokens": task.prompt_tokens,
        "gen_ai.usage.output_tokens": task.tokens,
        "ollama_queue.attempt": 1,
        "ollama_queue.backend": "ollama",
        "ollama_queue.task.id": task_id,
        "ollama_queue.task.priority": 5,
    }


def test_each_attempt_has_a_span(house: AppHarness) -> None:
    house.fake.script(Answer(500, {"error": "a secret"}))
    _, spans = run(house, max_retries=1)

    calls = [span for span in spans if span.name.startswith("text_completion")]
    assert [span.status.is_ok for span in calls] == [False, True]
    assert (calls[0].attributes or {})["error.type"] == "500"
    assert len({span.context.span_id for span in calls if span.context}) == 2
    assert "secret" not in "".join(span.to_json() for span in spans)


def test_a_task_without_a_trace_is_one_of_its_own(house: AppHarness) -> None:
    task_id, [*_, whole] = run(house)

    assert whole.parent is None
    assert whole.context is not None
    assert f"{whole.context.trace_id:032x}" == task_id.replace("-", "")


def test_a_trace_that_is_not_sampled_has_no_spans(house: AppHarness) -> None:
    assert run(house, traceparent=UNSAMPLED)[1] == []


@pytest.mark.parametrize(
    ("environ", "is_so"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_spans_are_exported_where_the_environment_says(
    environ: dict[str, str], is_so: bool
) -> None:
    assert is_export_configured(environ) is is_so


def test_spans_arrive_at_a_collector(house: AppHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1/traces"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url)
    writer = export_spans(house.queue.listen)
    watched = writer._processor = Watched(writer._processor)
    house.done()
    assert watched.ended.wait(10)
    writer.close()  # exports what is left
    server.shutdown()
    server.server_close()

    requests = [ExportTraceServiceRequest.FromString(body) for body in received]
    names = [
        span.name
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert sorted(names) == ["queue.task", "queue.wait", "text_completion smollm2"]
