"""Responses in the background over a restart of the queue: nobody loses one, and readers go on."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.fakes.model_server import FakeOllama, Stream
from tests.support.servers.queue_server import QueueServer

STRIDE = 10_000_000  # numbers of events of an attempt


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    with FakeOllama() as model:
        yield model


@pytest.fixture
def server(fake: FakeOllama, tmp_path: Path) -> Iterator[QueueServer]:
    with QueueServer(tmp_path, fake.url, workers=1) as running:
        yield running


@pytest.fixture
def client(server: QueueServer) -> Iterator[openai.OpenAI]:
    base = f"{server.base_url}/v1"
    with openai.OpenAI(base_url=base, api_key="none", max_retries=0) as made:
        yield made


def begin(client: openai.OpenAI, **more: Any) -> Any:
    return client.responses.create(model="m", input="hi", background=True, **more)


def test_a_reader_goes_on_after_a_kill(
    fake: FakeOllama, server: QueueServer, client: openai.OpenAI
) -> None:
    events = list(begin(client, stream=True))
    response_id = events[0].response.id

    server.kill()
    server.start()

    assert list(client.responses.retrieve(response_id, stream=True)) == events
    for after in (0, 5, 6, len(events) - 2):
        rest = client.responses.retrieve(response_id, stream=True, starting_after=after)
        assert list(rest) == events[after + 1 :]


def test_a_reader_of_a_lost_attempt_gets_the_new_one(
    fake: FakeOllama, server: QueueServer, client: openai.OpenAI
) -> None:
    fake.script(Stream(then="hang"))
    seen = []
    for event in begin(client, stream=True):
        seen.append(event)
        if event.type == "response.output_text.delta":
            break
    response_id, last = seen[0].response.id, seen[-1].sequence_number
    gate = threading.Event()
    fake.script(Stream(words=("New", " text"), gate=gate))

    server.kill()
    server.start()
    stream = client.responses.retrieve(response_id, stream=True, starting_after=last)
    gate.set()
    events = list(stream)

    assert [event.sequence_number for event in events] == list(
        range(STRIDE + 2, STRIDE + 2 + len(events))
    )
    assert events[0].type == "response.in_progress"
    assert "".join(each.delta for each in events if each.type.endswith("delta")) == "New text"
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == "New text"
    assert client.responses.retrieve(response_id) == events[-1].response


def test_a_queued_response_waits_on_and_a_cancelled_one_stays_cancelled(
    fake: FakeOllama, server: QueueServer, client: openai.OpenAI
) -> None:
    fake.script(Stream(then="hang"))
    running, waiting, cancelled = (begin(client) for _ in range(3))
    fake.wait_for_calls(1)
    assert client.responses.cancel(cancelled.id).status == "cancelled"

    server.kill()
    server.start()

    for started, status in ((running, "completed"), (waiting, "completed")):
        *_, last = client.responses.retrieve(started.id, stream=True)
        assert last.response.status == status
    assert client.responses.retrieve(cancelled.id).status == "cancelled"
