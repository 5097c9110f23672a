"""A task's trace: taken with the task or the request, kept, and sent to the model server."""

from typing import Any

import pytest

from ollama_queue import Invalid
from ollama_queue.actors.core.activity.tracing import child_of
from tests.support.fakes.model_server import Answer
from tests.support.harness.app import AppHarness
from tests.support.harness.doors import PATIENCE_S, Door, ask

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STATE = "vendor=1,other=2"


def test_a_task_keeps_its_trace_and_its_calls_are_children(door: Door) -> None:
    door.fake.script(Answer(500, {"error": "once"}))
    task_id = door.queue.submit_task(ask(traceparent=PARENT, tracestate=STATE, max_retries=1))
    task = door.queue.wait(task_id, timeout=PATIENCE_S)

    assert (task.traceparent, task.tracestate) == (PARENT, STATE)
    sent = [call.headers for call in door.fake.wait_for_calls(2)]
    assert [headers["traceparent"] for headers in sent] == [
        child_of(PARENT, task_id, 1),
        child_of(PARENT, task_id, 2),
    ]
    assert {headers["tracestate"] for headers in sent} == {STATE}


def test_a_call_of_a_task_without_a_trace_has_none(door: Door) -> None:
    door.queue.wait(door.queue.submit_task(ask(traceparent=PARENT)), timeout=PATIENCE_S)
    door.queue.wait(door.queue.submit_task(ask()), timeout=PATIENCE_S)

    traced, plain = door.fake.wait_for_calls(2)
    assert "tracestate" not in traced.headers
    assert "traceparent" not in plain.headers


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"traceparent": "00-1-2-3"}, "traceparent"),
        ({"traceparent": f"{PARENT}\r\nX-Forged: 1"}, "traceparent"),
        ({"tracestate": STATE}, "traceparent"),
        ({"traceparent": PARENT, "tracestate": "x" * 600}, "tracestate"),
    ],
)
def test_a_wrong_trace_of_a_task_is_named(door: Door, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as raised:
        door.queue.submit_task({"type": "generate", "model": "m", "prompt": "x", **fields})

    assert raised.value.field == field


REQUESTS = [
    ("/api/tasks", {"type": "generate", "model": "smollm2", "prompt": "hi"}),
    ("/api/tasks/batch", [{"type": "generate", "model": "smollm2", "prompt": "hi"}]),
    ("/api/chat", {"model": "smollm2", "messages": [{"role": "user", "content": "hi"}]}),
    ("/v1/chat/completions", {"model": "smollm2", "messages": [{"role": "user", "content": "a"}]}),
    ("/v1/responses", {"model": "smollm2", "input": "hi"}),
    (
        "/v1/messages",
        {"model": "smollm2", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
    ),
]


@pytest.fixture
def house(tmp_path: Any) -> Any:
    made = AppHarness(tmp_path)
    made.fake.lists("smollm2")
    yield made
    made.close()


@pytest.mark.parametrize(("path", "body"), REQUESTS, ids=[path for path, _ in REQUESTS])
def test_each_door_takes_the_trace_of_its_request(house: AppHarness, path: str, body: Any) -> None:
    house.http.post(path, json=body, headers={"traceparent": PARENT, "tracestate": STATE})

    [call] = house.fake.wait_for_calls(1)
    [task] = house.queue.list_tasks()
    assert task.traceparent == PARENT
    assert call.headers["traceparent"] == child_of(PARENT, task.id, 1)
    assert call.headers["tracestate"] == STATE


@pytest.mark.parametrize("parent", ["nonsense", "ff" + PARENT[2:], ""])
def test_a_header_that_is_not_valid_is_ignored(house: AppHarness, parent: str) -> None:
    answer = house.http.post("/api/tasks", json=REQUESTS[0][1], headers={"traceparent": parent})

    assert answer.status_code == 201
    assert house.queue.list_tasks()[0].traceparent is None


def test_a_repeated_request_may_have_another_trace(house: AppHarness) -> None:
    path, body = REQUESTS[0]
    key = {"Idempotency-Key": "k"}
    first = house.http.post(path, json=body, headers=key)
    again = house.http.post(path, json=body, headers={**key, "traceparent": PARENT})

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["task_id"] == again.json()["task_id"]
