"""OpenAI's official client before the queue: its errors, and how its tasks are queued."""

import threading
from collections.abc import Iterator

import openai
import pytest

from ollama_queue import Status
from tests.support.fakes.model_server import Answer, Behaviour, Hang, Stream
from tests.support.harness.executor import delta, sse
from tests.support.harness.openai import HI, OpenAIHarness, chat, open_openai
from tests.support.harness.site import SITES

PATIENCE_S = 10.0


@pytest.fixture(scope="module", params=SITES)
def house(request: pytest.FixtureRequest) -> Iterator[OpenAIHarness]:
    with open_openai(request) as made:
        yield made


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_nobody_has(house: OpenAIHarness, stream: bool) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        house.client.chat.completions.create(model="gone", messages=HI, stream=stream)

    error = caught.value
    assert (error.code, error.type, error.param) == (
        "model_not_found",
        "invalid_request_error",
        "model",
    )
    words = 'model "gone" not found, try pulling it first'
    assert error.body["message"] == words  # type: ignore[index]


@pytest.mark.parametrize("stream", [False, True])
def test_the_models_own_refusals(house: OpenAIHarness, stream: bool) -> None:
    said = {
        "message": "the prompt has 9000 tokens, and there is room for 512",
        "type": "exceed_context_size_error",
        "code": "context_length_exceeded",
        "param": "messages",
    }
    house.model.script(Answer(400, {"error": said}))

    with pytest.raises(openai.BadRequestError) as caught:
        chat(house, stream=stream)

    assert caught.value.body == said


def test_an_error_in_the_middle_of_a_stream_has_the_servers_code(house: OpenAIHarness) -> None:
    """One that no retry mends: else the next attempt may be there before anything was sent."""
    words = "the request exceeds the available context size"
    said = {"message": words, "type": "invalid_request_error", "code": "too_long", "param": None}
    house.model.script(sse(delta(content="He"), {"error": said}))

    with pytest.raises(openai.APIError) as caught:
        list(chat(house, stream=True))

    assert (caught.value.code, caught.value.type) == ("too_long", "invalid_request_error")


def test_mistakes_in_the_request(house: OpenAIHarness) -> None:
    create = house.client.chat.completions.create
    for wrong, param in (
        ({"messages": []}, "messages"),
        ({"stream": "yes"}, "stream"),
        ({"extra_body": {"service_tier": 1}}, "service_tier"),
        ({"extra_headers": {"X-Queue-Priority": "99"}}, "X-Queue-Priority"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            create(**{"model": "m", "messages": HI, **wrong})  # type: ignore[call-overload]
        assert (caught.value.type, caught.value.param) == ("invalid_request_error", param)
    with pytest.raises(openai.NotFoundError):
        house.client.images.generate(model="m", prompt="a cat")


def test_what_failed_here_is_not_sent_again_by_the_client(house: OpenAIHarness) -> None:
    house.model.default = Answer(501, {"error": "not for me"})
    calls = len(house.model.calls)
    try:
        with pytest.raises(openai.InternalServerError) as caught:
            chat(house, client=house.client.with_options(max_retries=2))
    finally:
        house.model.default = Stream()

    assert caught.value.response.headers["x-should-retry"] == "false"
    assert (caught.value.type, len(house.model.calls)) == ("api_error", calls + 1)


FAILURES = [Stream(then="cut"), Answer(500, {"error": "out of memory"}), Stream(then="stop")]


@pytest.mark.parametrize("failed", FAILURES)
def test_a_whole_reply_is_tried_again_unseen(house: OpenAIHarness, failed: Behaviour) -> None:
    house.model.script(failed)

    assert chat(house).choices[0].message.content == "Hello from here"
    assert house.newest().attempt == 2


def test_a_stream_is_tried_again_while_nothing_was_sent(house: OpenAIHarness) -> None:
    house.model.script(Answer(500, {"error": "out of memory"}), Stream(words=[], then="cut"))

    said = [piece.choices[0].delta.content for piece in chat(house, stream=True)]

    assert "".join(said) == "Hello from here"


def test_a_stream_cannot_begin_anew(house: OpenAIHarness) -> None:
    seen = threading.Event()
    house.model.script(Stream(then="cut", gate=seen), Stream(then="hang"))

    with pytest.raises(openai.APIError, match="so far is incomplete"):
        for _ in chat(house, stream=True):
            seen.set()

    task = house.newest()
    assert house.queue.wait(task.id, timeout=PATIENCE_S).status is Status.CANCELLED


# --- the queue ----------------------------------------------------------------------------------


def test_who_says_how_urgent_it_is(house: OpenAIHarness) -> None:
    levels = {"priority": 15, "fast": 15, "flex": 1, "auto": 10, "default": 10, "scale": 10}
    for tier, level in levels.items():
        answer = chat(house, extra_body={"service_tier": tier})
        assert house.newest().priority == level
        assert answer.service_tier == ("default" if tier == "auto" else tier)
    (piece, *_) = chat(house, stream=True, service_tier="flex")
    assert piece.service_tier == "flex"
    headers = {"X-Queue-Priority": "normal", "X-Queue-Tenant": "t"}
    chat(house, service_tier="priority", extra_headers=headers)
    assert (house.newest().priority, house.newest().tenant) == (5, "t")


def test_the_headers_of_an_answer(house: OpenAIHarness) -> None:
    raw = house.client.chat.completions.with_raw_response.create(model="m", messages=HI)

    assert raw.headers["X-Queue-Task-Id"] == house.newest().id
    assert raw.headers["X-Queue-Backend"] == "ollama"
    assert int(raw.headers["X-Queue-Wait-Ms"]) >= 0
    suffix = house.newest().id.replace("-", "")[-24:]
    assert raw.parse()._request_id == f"req_{suffix}"


def test_every_answer_names_its_request(house: OpenAIHarness) -> None:
    house.model.script(Answer(400, {"error": "no"}))
    with pytest.raises(openai.BadRequestError) as caught:
        chat(house)
    suffix = house.newest().id.replace("-", "")[-24:]
    assert caught.value.request_id == f"req_{suffix}"
    assert str(house.client.models.list()._request_id).startswith("req_")
    with pytest.raises(openai.NotFoundError) as missing:
        house.client.batches.retrieve("batch_1")
    assert str(missing.value.request_id).startswith("req_")


@pytest.mark.parametrize("stream", [False, True])
def test_a_key_finds_the_task_again(house: OpenAIHarness, stream: bool) -> None:
    key = {"Idempotency-Key": f"once {len(house.model.calls)}"}
    chat(house, extra_headers=key)
    calls = len(house.model.calls)

    again = chat(house, extra_headers=key, stream=stream)

    if stream:
        said = "".join(piece.choices[0].delta.content for piece in again)
    else:
        said = again.choices[0].message.content
    assert (said, len(house.model.calls)) == ("Hello from here", calls)
    with pytest.raises(openai.ConflictError):
        chat(house, extra_headers=key, seed=1)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_takes_its_task_along(house: OpenAIHarness, stream: bool) -> None:
    house.model.script(Hang())
    gone = house.model.disconnects
    hasty = house.client.with_options(timeout=0.3)
    with pytest.raises(openai.APITimeoutError):
        chat(house, client=hasty, stream=stream)
    house.model.wait_for_disconnect(count=gone + 1)
    assert house.queue.wait(house.newest().id, timeout=PATIENCE_S).status is Status.CANCELLED


def test_a_client_that_has_read_a_little_may_go(house: OpenAIHarness) -> None:
    house.model.script(Stream(then="hang"))
    gone = house.model.disconnects
    pieces = chat(house, stream=True)
    next(pieces)

    pieces.close()

    house.model.wait_for_disconnect(count=gone + 1)
    assert house.queue.wait(house.newest().id, timeout=PATIENCE_S).status is Status.CANCELLED
