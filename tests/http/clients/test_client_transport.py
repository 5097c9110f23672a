"""Clients over a transport that is handed in, as httpx takes one."""

import asyncio
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ollama_queue import AsyncClient, Chunk, Client, Invalid, Unavailable
from ollama_queue.http.serving.app import create_app
from tests.support.harness.doors import EmbeddedDoor, ask

URL = "http://queue.invalid"  # nobody is asked for it


@pytest.fixture
def door(tmp_path: Path) -> Iterator[EmbeddedDoor]:
    made = EmbeddedDoor("QueueManager", tmp_path)
    yield made
    made.close()


def test_a_client_speaks_to_the_app_itself(door: EmbeddedDoor) -> None:
    transport = httpx.WSGITransport(app=create_app(door.manager))
    with Client(URL, transport=transport) as queue:
        task_id = queue.submit_task(ask())
        chunks = list(queue.submit_streaming_task(ask(), timeout=10))

        assert queue.wait(task_id, timeout=10).id == task_id
        assert chunks[-1].done
        assert door.manager.get_task(task_id).result == queue.get_task(task_id).result


def test_an_async_client_uses_it_in_one_event_loop_after_another(door: EmbeddedDoor) -> None:
    app = httpx.WSGITransport(app=create_app(door.manager))

    def answer(request: httpx.Request) -> httpx.Response:
        response = app.handle_request(request)
        return httpx.Response(
            response.status_code, headers=response.headers, content=response.read()
        )

    queue = AsyncClient(URL, transport=httpx.MockTransport(answer))

    async def scene() -> str:
        task_id = await queue.submit_task(ask())
        assert (await queue.wait(task_id, timeout=10)).status.is_final
        return task_id

    ids = {asyncio.run(scene()) for _ in range(2)}

    assert ids == {task.id for task in door.manager.list_tasks()}


STREAM = (
    b'event: chunk\nid: 1.0\ndata: {"response": "Hi"}\n\n'
    b'event: end\ndata: {"task_id": "1", "status": "completed", "error": null}\n\n'
)


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_a_stream_may_be_written_for_a_test_and_packed_by_a_proxy(coding: str) -> None:
    content = gzip.compress(STREAM) if coding == "gzip" else STREAM
    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, headers={"Content-Encoding": coding}, content=content)
    )

    async def read() -> list[Chunk]:
        async with AsyncClient(URL, transport=transport) as queue:
            return [chunk async for chunk in queue.stream_task("1", timeout=10)]

    with Client(URL, transport=transport) as queue:
        chunks = list(queue.stream_task("1", timeout=10))

    assert [(chunk.data, chunk.done) for chunk in chunks] == [
        ({"response": "Hi"}, False),
        (None, True),
    ]
    assert asyncio.run(read()) == chunks


def test_an_error_of_a_transport_is_the_queue_s(door: EmbeddedDoor) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("on purpose", request=request)

    with (
        Client(URL, transport=httpx.MockTransport(answer)) as queue,
        pytest.raises(
            Unavailable, match=r"cannot reach a queue server at http://queue.invalid \(on purpose\)"
        ),
    ):
        queue.get_queue_stats()


@pytest.mark.parametrize(
    ("kind", "name"), [(Client, "a BaseTransport"), (AsyncClient, "an AsyncBaseTransport")]
)
def test_what_is_no_transport_is_refused(kind: Any, name: str) -> None:
    with pytest.raises(Invalid) as refused:
        kind(URL, transport="http://proxy:3128")
    assert refused.value.field == "transport"
    assert refused.value.message == f"transport must be {name}, not of type str"


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_request_has_the_url_s_path_and_user_and_is_composed_anew_each_time(kind: Any) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        body = (
            [] if request.method == "GET" else {"task_id": "1", "status": "pending", "position": 0}
        )
        return httpx.Response(200, json=body)

    queue = kind("http://an:p%40ss@queue.invalid/below", transport=httpx.MockTransport(answer))

    def called(verb: Any) -> None:
        result = verb()
        if kind is AsyncClient:
            asyncio.run(result)

    called(lambda: queue.submit_task(ask()))
    called(lambda: queue.list_batches(5))
    called(lambda: queue.list_batches(6))
    called(lambda: queue.submit_task(ask()))

    assert [(request.method, request.url.raw_path) for request in seen] == [
        ("POST", b"/below/api/tasks"),
        ("GET", b"/below/api/batches?limit=5"),
        ("GET", b"/below/api/batches?limit=6"),
        ("POST", b"/below/api/tasks"),
    ]
    assert {request.headers["Authorization"] for request in seen} == {"Basic YW46cEBzcw=="}
    assert {request.headers["Host"] for request in seen} == {"queue.invalid"}
    assert seen[0].headers["Idempotency-Key"] != seen[3].headers["Idempotency-Key"]
