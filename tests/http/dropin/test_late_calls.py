"""Official clients whose calls are late: X-Queue-Timeout counts the wait, and answers 504."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import anthropic
import httpx
import ollama
import openai
import pytest

from ollama_queue import Client, Status
from tests.support.fakes.model_server import FakeOllama, Hang, Stream
from tests.support.harness.openai import HI
from tests.support.ollama_clients import newest, paused
from tests.support.servers.queue_server import QueueServer

TIMEOUT, START_WITHIN = {"X-Queue-Timeout": "0.1"}, {"X-Queue-Start-Within": "0.1"}
LONGER = {"X-Queue-Timeout": "1.5"}  # enough to reach the model server
LIMITS = [TIMEOUT, START_WITHIN]
PATIENCE_S = 10.0


@pytest.fixture
def openais(server: QueueServer) -> Iterator[openai.OpenAI]:
    base = f"{server.base_url}/v1"
    with openai.OpenAI(base_url=base, api_key="none", max_retries=3) as client:
        yield client


def why(queue: Client) -> str:
    task = newest(queue)
    assert (task.status, task.error_code) == (Status.FAILED, "expired")
    return f"task {task.id} expired: {task.error}"


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("stream", [False, True])
def test_openais_client_is_told_once(
    openais: openai.OpenAI, queue: Client, limit: dict[str, str], stream: bool
) -> None:
    """Though it would try again by itself: each of its tries would be another task."""
    before = queue.get_queue_stats().total_tasks
    with paused(queue), pytest.raises(openai.APIStatusError) as caught:
        openais.chat.completions.create(model="m", messages=HI, stream=stream, extra_headers=limit)

    error = caught.value
    assert (error.status_code, error.code, error.type) == (504, "expired", "api_error")
    assert error.body["message"] == why(queue)  # type: ignore[index]
    assert queue.get_queue_stats().total_tasks == before + 1


def test_a_response_in_the_background_expires(openais: openai.OpenAI, queue: Client) -> None:
    with paused(queue):
        started = openais.responses.create(
            model="m", input="hi", background=True, extra_headers=TIMEOUT
        )
        events = list(openais.responses.retrieve(started.id, stream=True))
    response = openais.responses.retrieve(started.id)

    assert events[-1].type == "response.failed"
    assert response.status == "failed"
    assert response.error is not None
    assert (response.error.code, response.error.message) == ("expired", newest(queue).error)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("stream", [False, True])
def test_anthropics_client_is_told(
    server: QueueServer, queue: Client, limit: dict[str, str], stream: bool
) -> None:
    with (
        anthropic.Anthropic(base_url=server.base_url, api_key="none", max_retries=3) as client,
        paused(queue),
        pytest.raises(anthropic.APIStatusError) as caught,
    ):
        client.messages.create(
            model="m", max_tokens=9, messages=HI, stream=stream, extra_headers=limit
        )

    error = caught.value
    body: Any = error.body
    assert (error.status_code, body["error"]["type"]) == (504, "timeout_error")
    assert body["error"]["message"] == why(queue)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("stream", [False, True])
def test_ollamas_client_is_told(
    server: QueueServer, queue: Client, limit: dict[str, str], stream: bool
) -> None:
    client = ollama.Client(server.base_url, headers=limit)
    with paused(queue), pytest.raises(ollama.ResponseError) as caught:
        list(client.chat("m", HI, stream=stream))

    assert (caught.value.status_code, caught.value.error) == (504, why(queue))


def test_a_call_that_runs_is_stopped(
    openais: openai.OpenAI, model: FakeOllama, queue: Client
) -> None:
    model.script(Hang())
    with pytest.raises(openai.APIStatusError) as caught:
        openais.chat.completions.create(model="m", messages=HI, extra_headers=LONGER)

    assert (caught.value.status_code, caught.value.code) == (504, "expired")
    assert why(queue)
    openais.chat.completions.create(model="m", messages=HI)  # its slot is free


def test_a_stream_that_has_begun_ends_with_an_error(
    openais: openai.OpenAI, model: FakeOllama, queue: Client
) -> None:
    model.script(Stream(then="hang"))
    pieces = openais.chat.completions.create(
        model="m", messages=HI, stream=True, extra_headers=LONGER
    )
    seen = []
    with pytest.raises(openai.APIError) as caught:
        for piece in pieces:
            seen.append(piece.choices[0].delta.content)

    assert seen[:2] == ["Hello", " from"]
    assert (caught.value.code, caught.value.message) == ("expired", why(queue))


def test_who_asks_again_with_the_key_gets_the_same_answer_and_another_time(
    server: QueueServer, model: FakeOllama, queue: Client
) -> None:
    """The first client left, and its task was cancelled for that; its time does not count."""
    url = f"{server.base_url}/api/chat"
    body = {"model": "m", "messages": HI, "stream": False}
    headers = {"Idempotency-Key": "late", **LONGER}
    model.script(Hang())
    with closing(queue.subscribe(["task_cancelled"])) as events:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(url, json=body, headers={**headers, "X-Queue-Timeout": "600"}, timeout=1)
        left = events.get(PATIENCE_S).task
    with paused(queue):
        again = httpx.post(url, json=body, headers=headers, timeout=PATIENCE_S)

    assert again.headers["X-Queue-Task-Id"] == left.id
    assert again.status_code == 504
    assert queue.get_task(left.id).deadline < left.deadline
