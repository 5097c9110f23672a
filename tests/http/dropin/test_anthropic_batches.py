"""Anthropic's official client and batches of messages."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest

from tests.support.fakes.behaviours import Answer, Behaviour, Stream
from tests.support.fakes.model_server import FakeOllama
from tests.support.harness.anthropic import AnthropicHarness
from tests.support.harness.site import open_site
from tests.support.servers.queue_server import QueueServer

PATIENCE_S = 30.0


class MessageBatches(AnthropicHarness):
    def __init__(self, model: FakeOllama, server: QueueServer, kind: str) -> None:
        super().__init__(model, server, kind)
        self.pause = threading.Event()
        self.batches = self.client.messages.batches
        model.default = behave

    def files(self) -> list[str]:
        listed = httpx.get(f"{self.server.base_url}/v1/files").json()
        return [file["id"] for file in listed["data"]]

    def ended(self, batch: Any) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while batch.processing_status != "ended":
            assert time.monotonic() < deadline, batch
            self.pause.wait(0.02)
            batch = self.batches.retrieve(batch.id)
        return batch


def behave(body: dict[str, Any]) -> Behaviour:
    said = body["messages"][-1]["content"]
    if said == "refuse":
        return Answer(400, {"error": "no"})
    return Stream(then="hang") if said == "wait" else Stream()


@pytest.fixture(scope="module", params=["ollama", "follower"])
def house(request: pytest.FixtureRequest) -> Iterator[MessageBatches]:
    with open_site(request, MessageBatches, "m") as made:
        yield made


def request(name: str, content: str = "hi", **params: Any) -> Any:
    messages = [{"role": "user", "content": content}]
    return {
        "custom_id": name,
        "params": {"model": "m", "max_tokens": 9, "messages": messages, **params},
    }


def test_a_batch_of_messages(house: MessageBatches) -> None:
    batch = house.batches.create(requests=[request("a"), request("b", "refuse"), request("c")])

    assert batch.id.startswith("msgbatch_")
    assert (batch.type, batch.processing_status) == ("message_batch", "in_progress")
    assert batch.results_url is None
    assert (batch.expires_at - batch.created_at).total_seconds() == 86_400
    batch = house.ended(batch)
    counts = batch.request_counts
    assert (counts.succeeded, counts.errored, counts.canceled, counts.expired) == (2, 1, 0, 0)
    assert batch.ended_at is not None
    results = {line.custom_id: line.result for line in house.batches.results(batch.id)}
    assert {name: result.type for name, result in results.items()} == {
        "a": "succeeded",
        "b": "errored",
        "c": "succeeded",
    }
    message: Any = results["a"]
    assert message.message.content[0].text == "Hello from here"
    refused: Any = results["b"]
    assert refused.error.error.message == "no"


def test_a_cancelled_batch(house: MessageBatches) -> None:
    batch = house.batches.create(requests=[request(str(n), "wait") for n in range(5)])

    batch = house.batches.cancel(batch.id)
    assert batch.cancel_initiated_at is not None
    batch = house.ended(batch)
    assert batch.request_counts.succeeded == 0
    assert {line.result.type for line in house.batches.results(batch.id)} <= {"canceled"}
    assert house.batches.delete(batch.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        house.batches.retrieve(batch.id)


def test_one_that_goes_on_is_not_deleted(house: MessageBatches) -> None:
    batch = house.batches.create(requests=[request("x", "wait")])

    with pytest.raises(anthropic.ConflictError):
        house.batches.delete(batch.id)
    house.ended(house.batches.cancel(batch.id))


def test_a_repeated_request_is_the_same_batch(house: MessageBatches) -> None:
    """And leaves no second file behind."""
    key = {"extra_headers": {"Idempotency-Key": "once"}}
    first = house.batches.create(requests=[request("a")], **key)
    house.ended(first)
    files = house.files()

    again = house.batches.create(requests=[request("a")], **key)
    with pytest.raises(anthropic.ConflictError, match="was used for another request"):
        house.batches.create(requests=[request("b")], **key)

    assert again.id == first.id
    assert house.files() == files


def test_its_fallbacks_are_those_of_each_request(house: MessageBatches) -> None:
    headers = {"X-Queue-Fallback-Models": "m"}
    batch = house.batches.create(
        requests=[request("a", model="claude-opus-4-6"), request("b")], extra_headers=headers
    )
    house.ended(batch)

    results: Any = {line.custom_id: line.result for line in house.batches.results(batch.id)}
    assert [results[name].message.model for name in "ab"] == ["m", "m"]
    files = house.files()
    wrong = {"X-Queue-Fallback-Models": "m, m"}
    with pytest.raises(anthropic.BadRequestError, match=r"fallback_models\[1\] must be a model"):
        house.batches.create(requests=[request("a")], extra_headers=wrong)
    assert house.files() == files


def test_lists_go_both_ways(house: MessageBatches) -> None:
    ids = [house.batches.create(requests=[request("a")]).id for _ in range(3)]

    page = house.batches.list(limit=2)
    assert ([batch.id for batch in page.data], page.has_more) == (ids[:0:-1], True)
    assert house.batches.list(after_id=ids[1]).data[0].id == ids[0]
    page = house.batches.list(before_id=ids[0], limit=1)
    assert ([batch.id for batch in page.data], page.has_more) == ([ids[1]], True)
    page = house.batches.list(before_id=ids[0], limit=2)
    assert ([batch.id for batch in page.data], page.has_more) == (ids[:0:-1], False)
    assert house.batches.list(before_id=ids[2]).data == []
    nobody = "msgbatch_" + "0" * 32
    for place in ("after_id", "before_id"):
        with pytest.raises(anthropic.NotFoundError, match=f"there is no batch {nobody}"):
            house.batches.list(**{place: nobody})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"requests": []}', "requests must be a list of at least one request"),
        (b"{}", "requests"),
        (b'{"requests": [1]}', "requests[0]"),
        (b'{"requests": [{"custom_id": "a", "params": {}}]}', "requests[0]"),
        (b'{"requests": [{"custom_id": "a", "params": {"stream": true}}]}', "cannot be streamed"),
        (b'{"requests": [{"custom_id": "", "params": {}, "x": 1}]}', "x is not a field"),
        (b"[", "JSON"),
    ],
)
def test_a_wrong_request_is_named(house: MessageBatches, body: bytes, said: str) -> None:
    answer = httpx.post(f"{house.server.base_url}/v1/messages/batches", content=body)

    assert answer.status_code == 400
    assert answer.json()["type"] == "error"
    assert said in answer.json()["error"]["message"]
