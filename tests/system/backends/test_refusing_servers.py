"""Servers that refuse what the queue adds to requests: asked without, remembered, and said."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from ollama_queue import Status, Task
from tests.support.fakes.model_server import Answer, Behaviour, Stream
from tests.support.harness.app import client
from tests.support.harness.backends import Fleet, ask
from tests.support.harness.cli import run as run_cli

OPTIONS, STREAM = "stream_options", "stream"


def strict(body: dict[str, Any]) -> Behaviour:
    """Refuses options of a stream, and streams of one of its models."""
    if OPTIONS in body:
        return Answer(422, {"detail": [{"type": "extra_forbidden", "loc": ["body", OPTIONS]}]})
    if STREAM in body and body["model"] == "smollm2":
        return Answer(400, {"error": {"message": "not with this model", "param": STREAM}})
    return Stream()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path, workers=2, llama={"type": "openai", "parallel": 2}) as found:
        found["llama"].default = strict
        yield found


def run(fleet: Fleet, model: str) -> Task:
    task = fleet.run(ask(model=model, max_retries=0))
    assert (task.status, task.attempt) == (Status.COMPLETED, 1)
    assert task.result["response"] == "Hello from here"
    return task


def test_what_one_worker_learnt_all_know_and_users_see(fleet: Fleet) -> None:
    run(fleet, "m")
    assert len(fleet["llama"].calls) == 2
    assert fleet.state("llama").without == [OPTIONS]

    tasks = [fleet.queue.submit_task(ask(max_retries=0)) for _ in range(4)]
    assert {fleet.ended(task_id).status for task_id in tasks} == {Status.COMPLETED}
    assert len(fleet["llama"].calls) == 6  # nobody asks in vain again

    run(fleet, "smollm2")
    assert len(fleet["llama"].calls) == 9
    run(fleet, "smollm2")
    run(fleet, "m")
    assert [STREAM in call.body for call in fleet["llama"].calls[9:]] == [False, True]
    assert fleet.state("llama").without == [STREAM, OPTIONS]
    assert fleet.state("llama").failures == 0


def test_another_start_may_have_another_server(fleet: Fleet) -> None:
    run(fleet, "m")
    fleet.reopened()
    fleet["llama"].default = Stream()
    fleet["llama"].calls.clear()

    run(fleet, "m")

    assert fleet["llama"].calls[0].body[OPTIONS] == {"include_usage": True}
    assert fleet.state("llama").without == []


def test_each_door_says_it(fleet: Fleet) -> None:
    run(fleet, "m")

    assert client(fleet.queue).get("/api/backends").json()[0]["without"] == [OPTIONS]
    shown = run_cli(lambda _: nullcontext(fleet.queue), "backends").stdout
    assert "TOKENS/S  WITHOUT         ERROR" in shown
    assert f"  {OPTIONS}\n" in shown


@pytest.mark.parametrize("model", ["m", "smollm2"])
def test_a_client_that_streams_gets_its_stream(fleet: Fleet, model: str) -> None:
    """In one piece, where the server does not stream."""
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": True}
    told = client(fleet.queue).post("/v1/chat/completions", json=body).text
    events = [line.removeprefix("data: ") for line in told.splitlines() if line[:5] == "data:"]
    pieces = [json.loads(event) for event in events[:-1]]

    assert events[-1] == "[DONE]"
    words = [choice["delta"].get("content") for piece in pieces for choice in piece["choices"]]
    assert "".join(word or "" for word in words) == "Hello from here"
    assert {piece["object"] for piece in pieces} == {"chat.completion.chunk"}
