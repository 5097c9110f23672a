"""OpenAI's official client and batches: from a file of requests to the files of their answers."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.support.fakes.behaviours import Answer, Behaviour, Stream
from tests.support.fakes.model_server import FakeOllama
from tests.support.harness.openai import OpenAIHarness
from tests.support.harness.site import open_site
from tests.support.servers.queue_server import QueueServer

CHAT = "/v1/chat/completions"
PATIENCE_S = 30.0
FINAL = ("completed", "failed", "expired", "cancelled")


class BatchHouse(OpenAIHarness):
    """The model answers as the content of a message says."""

    def __init__(self, model: FakeOllama, server: QueueServer, kind: str) -> None:
        super().__init__(model, server, kind)
        self.gate, self.pause = threading.Event(), threading.Event()
        model.default = self.behave

    def close(self) -> None:
        self.gate.set()
        super().close()

    def behave(self, body: dict[str, Any]) -> Behaviour:
        messages = body.get("messages")
        if not messages:
            return Stream()
        if messages[0]["content"] == "refuse":
            return Answer(
                400, {"error": {"message": "no", "type": "bad", "code": "x", "param": None}}
            )
        if messages[0]["content"] == "wait":
            return Stream(gate=self.gate)
        return Stream()

    def upload(self, *lines: Any) -> str:
        text = b"\n".join(
            each if isinstance(each, bytes) else json.dumps(each).encode() for each in lines
        )
        return self.client.files.create(file=("in.jsonl", text), purpose="batch").id

    def create(self, *lines: Any, endpoint: Any = CHAT, window: Any = "24h", **more: Any) -> Any:
        return self.client.batches.create(
            input_file_id=self.upload(*lines), endpoint=endpoint, completion_window=window, **more
        )

    def until(self, batch: Any, *statuses: str) -> Any:
        """The batch, once it has one of these statuses."""
        deadline = time.monotonic() + PATIENCE_S
        while batch.status not in statuses:
            assert time.monotonic() < deadline, batch
            self.pause.wait(0.02)
            batch = self.client.batches.retrieve(batch.id)
        return batch

    def ended(self, batch: Any) -> Any:
        return self.until(batch, *FINAL)

    def lines(self, file_id: str | None) -> dict[str, Any]:
        """The lines of an output file, by their custom id."""
        if file_id is None:
            return {}
        text = self.client.files.content(file_id).text
        lines = [json.loads(line) for line in text.splitlines()]
        by_id = {line["custom_id"]: line for line in lines}
        assert len(by_id) == len(lines)
        return by_id


def request(number: int, content: str = "hi", **body: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": content}]
    fields = {"model": "m", "messages": messages, **body}
    return {"custom_id": f"r{number}", "method": "POST", "url": CHAT, "body": fields}


@pytest.fixture(scope="module", params=["ollama", "follower"])
def house(request: pytest.FixtureRequest) -> Iterator[BatchHouse]:
    with open_site(request, BatchHouse, "m", "other") as made:
        yield made


def test_a_batch_from_the_file_to_its_answers(house: BatchHouse) -> None:
    lines = [*(request(number) for number in range(10)), request(10, "refuse")]
    batch = house.create(*lines, metadata={"for": "me"})

    assert (batch.object, batch.status, batch.endpoint) == ("batch", "validating", CHAT)
    assert (batch.completion_window, batch.metadata) == ("24h", {"for": "me"})
    assert batch.expires_at == batch.created_at + 86_400
    assert batch.output_file_id is batch.errors is batch.in_progress_at is None
    batch = house.ended(batch)
    assert (batch.status, batch.model) == ("completed", "m")
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (11, 10, 1)
    assert (batch.usage.input_tokens, batch.usage.output_tokens) == (30, 30)
    assert batch.usage.total_tokens == 60
    answers = house.lines(batch.output_file_id)
    assert answers.keys() == {f"r{number}" for number in range(10)}
    answer = answers["r3"]
    assert answer.keys() == {"id", "custom_id", "response", "error"}
    assert answer["id"].startswith("batch_req_")
    assert (answer["error"], answer["response"]["status_code"]) == (None, 200)
    body = answer["response"]["body"]
    assert body["choices"][0]["message"]["content"] == "Hello from here"
    task = house.server.client().get_task(answer["response"]["request_id"])
    assert (task.priority, task.metadata) == (1, {"custom_id": "r3"})
    (refused,) = house.lines(batch.error_file_id).values()
    assert (refused["custom_id"], refused["error"]) == ("r10", None)
    assert refused["response"]["status_code"] == 400
    assert refused["response"]["body"]["error"]["message"] == "no"
    output = house.client.files.retrieve(batch.output_file_id)
    assert (output.purpose, output.filename) == ("batch_output", f"{batch.id}_output.jsonl")


def test_batches_of_completions_and_embeddings(house: BatchHouse) -> None:
    for endpoint, body in (
        ("/v1/completions", {"model": "m", "prompt": "once"}),
        ("/v1/embeddings", {"model": "m", "input": ["a", "b"]}),
    ):
        line = {"custom_id": "a", "method": "POST", "url": endpoint, "body": body}
        batch = house.ended(house.create(line, endpoint=endpoint))
        assert (batch.status, batch.error_file_id) == ("completed", None)
        (answer,) = house.lines(batch.output_file_id).values()
        assert "choices" in answer["response"]["body"] or len(answer["response"]["body"]["data"])


def test_batches_of_responses_and_messages(house: BatchHouse) -> None:
    text = [{"role": "user", "content": "hi"}]
    for endpoint, body in (
        ("/v1/responses", {"model": "m", "input": "hi"}),
        ("/v1/messages", {"model": "m", "max_tokens": 9, "messages": text}),
    ):
        line = {"custom_id": "a", "method": "POST", "url": endpoint, "body": body}
        batch = house.ended(house.create(line, endpoint=endpoint))
        assert (batch.status, batch.error_file_id) == ("completed", None)
        assert (batch.usage.input_tokens, batch.usage.output_tokens) == (3, 3)
        (answer,) = house.lines(batch.output_file_id).values()
        reply = answer["response"]["body"]
        content = reply["output"][-1]["content"] if "output" in reply else reply["content"]
        assert content[0]["text"] == "Hello from here"
        refused = house.ended(house.create({**line, "body": {"model": "m"}}, endpoint=endpoint))
        assert refused.status == "failed"


def test_each_wrong_line_is_named(house: BatchHouse) -> None:
    good = request(1)
    body = good["body"]
    wrong = [
        (b"{", "invalid_json_line", None),
        (b"[]", "invalid_json_line", None),
        (b'{"a": ' * 500, "invalid_json_line", None),
        ({**good, "x": 1}, "unknown_parameter", "x"),
        ({**good, "custom_id": ""}, "invalid_custom_id", "custom_id"),
        (good, "duplicate_custom_id", "custom_id"),
        ({**good, "custom_id": "a", "method": "GET"}, "invalid_method", "method"),
        ({**good, "custom_id": "a", "url": "/v1/completions"}, "invalid_url", "url"),
        ({**good, "custom_id": "a", "body": []}, "invalid_request", "body"),
        (
            {**good, "custom_id": "a", "body": {**body, "stream": True}},
            *("invalid_request", "body.stream"),
        ),
        ({**good, "custom_id": "b", "body": {"model": "m"}}, "invalid_request", "messages"),
        ({**good, "custom_id": "c", "body": {"messages": []}}, "invalid_request", "model"),
    ]
    batch = house.ended(house.create(good, b"", *(line for line, _, _ in wrong)))

    assert (batch.status, batch.request_counts.total) == ("failed", 0)
    assert batch.failed_at is not None
    told = [(fault.line, fault.code, fault.param) for fault in batch.errors.data]
    assert told == [(n, code, param) for n, (_, code, param) in enumerate(wrong, 3)]
    assert all(fault.message for fault in batch.errors.data)


def test_a_hopeless_file_is_not_read_to_its_end(house: BatchHouse) -> None:
    batch = house.ended(house.create(*[b"x"] * 1000))

    assert len(batch.errors.data) == 100


def test_what_a_wrong_line_says_is_not_repeated_at_length(house: BatchHouse) -> None:
    names = {**request(1), "x" * 10_000: 1}
    body = {**request(2), "body": {"model": "m", "input": [{"type": "x" * 10_000}]}}
    for line, endpoint in ((names, CHAT), ({**body, "url": "/v1/responses"}, "/v1/responses")):
        batch = house.ended(house.create(line, endpoint=endpoint))

        [fault] = batch.errors.data
        assert len(fault.message) <= 500 and fault.message.endswith("…")


def test_an_empty_file_is_refused(house: BatchHouse) -> None:
    batch = house.ended(house.create(b"\n\n"))

    assert [fault.code for fault in batch.errors.data] == ["empty_file"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"endpoint": "/v1/images/generations"}, "endpoint"),
        ({"endpoint": [CHAT]}, "endpoint"),
        ({"endpoint": {}}, "endpoint"),
        ({"completion_window": "1w"}, "completion_window"),
        ({"completion_window": "31d"}, "completion_window"),
        ({"completion_window": "0h"}, "completion_window"),
        ({"input_file_id": "file-x"}, "input_file_id"),
        ({"input_file_id": None}, "input_file_id"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a"),
        ({"metadata": {"priority": "urgent"}}, "metadata.priority"),
        ({"output_expires_after": {"anchor": "now"}}, "output_expires_after"),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 1}},
            "output_expires_after.seconds",
        ),
        ({"extra_body": {"x": 1}}, "x"),
    ],
)
def test_a_wrong_batch_is_refused(house: BatchHouse, fields: Any, param: str) -> None:
    right: Any = {
        "input_file_id": house.upload(request(1)),
        "endpoint": CHAT,
        "completion_window": "24h",
    }
    with pytest.raises(openai.BadRequestError) as caught:
        house.client.batches.create(**(right | fields))
    assert caught.value.param == param


def test_the_purpose_of_the_file_must_be_batch(house: BatchHouse) -> None:
    file = house.client.files.create(file=b"{}", purpose="evals")
    with pytest.raises(openai.BadRequestError, match="purpose batch"):
        house.client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")


def test_a_cancelled_batch_keeps_what_it_has(house: BatchHouse) -> None:
    batch = house.create(*(request(n, "wait" if n > 2 else "hi") for n in range(300)))
    batch = house.until(batch, "in_progress")
    while batch.request_counts.completed < 3:
        batch = house.client.batches.retrieve(batch.id)

    batch = house.client.batches.cancel(batch.id)
    assert batch.status == "cancelling"
    assert batch.cancelling_at
    batch = house.ended(batch)
    assert batch.status == "cancelled"
    assert batch.cancelled_at
    assert house.lines(batch.output_file_id).keys() == {"r0", "r1", "r2"}
    errors = house.lines(batch.error_file_id)
    assert len(errors) == 297
    assert {line["error"]["code"] for line in errors.values()} == {"batch_cancelled"}
    assert all(line["response"] is None for line in errors.values())
    with pytest.raises(openai.ConflictError, match=f"batch {batch.id} has ended"):
        house.client.batches.cancel(batch.id)


def test_what_has_not_run_when_the_window_ends_expires(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    from ollama_queue import QueueManager
    from ollama_queue.actors.core.intake import batch_jobs
    from ollama_queue.actors.core.model.tasks import BatchStatus

    gate = threading.Event()

    def behave(body: dict[str, Any]) -> Behaviour:
        return Stream(gate=gate) if body["messages"][0]["content"] == "wait" else Stream()

    monkeypatch.setattr(batch_jobs, "_window", lambda value: timedelta(seconds=2))
    with (
        FakeOllama(behave) as model,
        QueueManager(ollama_host=model.url, storage_path=tmp_path, max_workers=2) as queue,
    ):
        with queue.new_file() as file:
            for number in range(10):
                line = request(number, "hi" if number < 2 else "wait")
                file.write(json.dumps(line).encode() + b"\n")
            stored = file.save("in.jsonl", "batch")
        body = {"input_file_id": stored.id, "endpoint": CHAT, "completion_window": "1h"}
        batch = queue.create_batch(body)
        deadline = time.monotonic() + PATIENCE_S
        while batch.job is None or not batch.job.status.is_final:
            assert time.monotonic() < deadline, batch
            batch = queue.get_batch(batch.id)
        job = batch.job
        assert (job.status, job.answered, job.refused) == (BatchStatus.EXPIRED, 2, 0)
        assert job.expired_at is not None
        assert job.expired_at >= job.expires_at
        assert job.error_file_id is not None
        _, reader = queue.read_file(job.error_file_id)
        errors = [json.loads(line) for line in b"".join(reader).splitlines()]
        reader.close()
        assert [line["custom_id"] for line in errors] == [f"r{n}" for n in range(2, 10)]
        assert {line["error"]["code"] for line in errors} == {"batch_expired"}
        gate.set()


def test_lists_are_paged(house: BatchHouse) -> None:
    ids = [house.create(request(1)).id for _ in range(3)]

    page = house.client.batches.list(limit=2)
    assert [batch.id for batch in page.data] == ids[:0:-1]
    assert [batch.id for batch in house.client.batches.list(limit=1)][:3] == ids[::-1]
    assert house.client.batches.list(after=ids[1]).data[0].id == ids[0]
    for call in (house.client.batches.retrieve, house.client.batches.cancel):
        with pytest.raises(openai.NotFoundError):
            call("batch_x")
    nobody = "batch_" + "0" * 32
    with pytest.raises(openai.NotFoundError) as caught:
        house.client.batches.list(after=nobody)
    assert (caught.value.body["message"], caught.value.param) == (  # type: ignore[index]
        f"there is no batch {nobody}",
        "after",
    )


def test_a_repeated_request_is_the_same_batch(house: BatchHouse) -> None:
    """The official client sends a key with each request, and again with each of its retries."""
    fields = {"endpoint": CHAT, "completion_window": "24h", "metadata": {"a": "1", "b": "2"}}
    fields["input_file_id"] = house.upload(request(1))
    key = {"extra_headers": {"Idempotency-Key": "once"}}
    first = house.client.batches.create(**fields, **key)
    before = house.server.client().list_batches(limit=1)[0].id

    house.server.kill()  # a key is as durable as its batch
    house.server.start()
    again = house.client.batches.create(**fields, **key)
    assert again.id == first.id
    house.ended(again)
    again = house.client.batches.create(**dict(reversed(fields.items())), **key)
    assert (again.id, again.status) == (first.id, "completed")
    assert house.server.client().list_batches(limit=1)[0].id == before

    with pytest.raises(openai.ConflictError) as caught:
        house.client.batches.create(**{**fields, "metadata": {"a": "2"}}, **key)
    assert caught.value.param == "idempotency_key"
    assert "was used for another request" in str(caught.value)
    for header in ({"X-Queue-Fallback-Models": ""}, {"X-Queue-Fallback-Models": "other"}):
        with pytest.raises(openai.ConflictError):
            house.client.batches.create(**fields, extra_headers={**key["extra_headers"], **header})
    other = {"extra_headers": {**key["extra_headers"], "X-Queue-Tenant": "somebody else"}}
    assert house.client.batches.create(**fields, **other).id != first.id


def test_requests_at_once_with_one_key_are_one_batch(house: BatchHouse) -> None:
    fields = {
        "endpoint": CHAT,
        "completion_window": "24h",
        "input_file_id": house.upload(request(1)),
    }
    made: list[str] = []

    def create() -> None:
        headers = {"Idempotency-Key": "together"}
        made.append(house.client.batches.create(**fields, extra_headers=headers).id)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert len(made) == 8
    assert len(set(made)) == 1


def test_priority_and_tenant_are_those_of_the_batch(house: BatchHouse) -> None:
    batch = house.create(
        request(1), metadata={"priority": "high"}, extra_headers={"X-Queue-Tenant": "me"}
    )
    batch = house.ended(batch)

    (answer,) = house.lines(batch.output_file_id).values()
    task = house.server.client().get_task(answer["response"]["request_id"])
    assert (task.priority, task.tenant) == (10, "me")


def test_its_fallbacks_are_those_of_each_line(house: BatchHouse) -> None:
    fallbacks = {"X-Queue-Fallback-Models": "m, other"}
    lines = [request(1, model="gone"), request(2), request(3, model="Other:latest")]
    batch = house.ended(house.create(*lines, extra_headers=fallbacks))

    answers = house.lines(batch.output_file_id)
    assert answers.keys() == {"r1", "r2", "r3"}
    with house.server.client() as client:
        tasks = {
            name: client.get_task(answer["response"]["request_id"])
            for name, answer in answers.items()
        }
        (made,) = client.list_batches(limit=1)
    assert [tasks[name].fallback_models for name in ("r1", "r2", "r3")] == [
        ["m", "other"],
        ["other"],
        ["m"],
    ]
    assert (tasks["r1"].model_used, tasks["r2"].model_used) == ("m", "m")
    assert answers["r1"]["response"]["body"]["model"] == "m"
    assert made.job is not None
    assert made.job.fallback_models == ["m", "other"]


@pytest.mark.parametrize(
    ("endpoint", "header", "param"),
    [
        (CHAT, "m, M:latest", "fallback_models[1]"),
        (CHAT, ",".join("abcdefghi"), "fallback_models"),
        ("/v1/embeddings", "m", "fallback_models"),
    ],
)
def test_wrong_fallbacks_are_refused(
    house: BatchHouse, endpoint: str, header: str, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        house.create(
            request(1), endpoint=endpoint, extra_headers={"X-Queue-Fallback-Models": header}
        )
    assert caught.value.param == param


def test_it_is_a_batch_like_all_others(house: BatchHouse) -> None:
    batch = house.ended(house.create(request(1), request(2, "refuse")))

    plain_id = batch.id.removeprefix("batch_")
    with house.server.client() as client:
        (shown,) = [each for each in client.list_batches() if each.id.replace("-", "") == plain_id]
        assert (shown.total, shown.completed, shown.failed) == (2, 1, 1)
        assert shown.job is not None
        assert shown.job.output_file_id == batch.output_file_id
        assert len(client.list_tasks({"batch_id": shown.id})) == 2
        native = client.submit_batch([{"type": "generate", "model": "m", "prompt": "x"}])
        with pytest.raises(openai.NotFoundError, match="not from a file"):
            house.client.batches.retrieve("batch_" + native.batch_id.replace("-", ""))


def test_with_the_asynchronous_client(house: BatchHouse) -> None:
    async def all_of_it() -> None:
        async with openai.AsyncOpenAI(
            base_url=house.base_url, api_key="none", max_retries=0
        ) as official:
            data = json.dumps(request(1)).encode()
            file = await official.files.create(file=("a", data), purpose="batch")
            batch = await official.batches.create(
                input_file_id=file.id, endpoint=CHAT, completion_window="24h"
            )
            while batch.status not in FINAL:
                batch = await official.batches.retrieve(batch.id)
            assert batch.output_file_id is not None
            answers = await official.files.content(batch.output_file_id)
            assert json.loads(answers.text)["custom_id"] == "r1"

    asyncio.run(all_of_it())


def test_lines_alike_run_together_and_answers_are_in_the_order_of_the_file(
    house: BatchHouse,
) -> None:
    def line(number: int) -> dict[str, Any]:
        system = {"role": "system", "content": f"You are {number // 2 % 2}."}
        user = {"role": "user", "content": "hi"}
        return request(number, model=("m", "other")[number % 2], messages=[system, user])

    batch = house.ended(house.create(*map(line, range(12))))

    answers = house.lines(batch.output_file_id)
    assert list(answers) == [f"r{number}" for number in range(12)]
    with house.server.client() as client:
        ids = [answer["response"]["request_id"] for answer in answers.values()]
        tasks = sorted(map(client.get_task, ids), key=lambda task: task.id)
    numbers = [int(task.metadata["custom_id"][1:]) for task in tasks]
    assert numbers == list(range(12))
    assert {task.created_at for task in tasks} == {tasks[0].created_at}
    by_model = [0, 4, 8, 2, 6, 10, 1, 5, 9, 3, 7, 11]
    by_turn = sorted(tasks, key=lambda task: (task.queued_at, task.id))
    assert [int(task.metadata["custom_id"][1:]) for task in by_turn] == by_model
