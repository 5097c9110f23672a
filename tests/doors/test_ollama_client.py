"""The official client of Ollama, which has no idea of a queue, at the queue's door."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ollama
import pytest

from ollama_queue import Client, Status, generate_task
from tests.fakes import Answer, Behaviour, FakeOllama, Hang, Stream
from tests.queue_server import QueueServer

HI = [{"role": "user", "content": "hi"}]
PATIENCE_S = 10.0
SHOWN = {
    "license": "",
    "modelfile": "FROM m",
    "details": {"family": "llama"},
    "model_info": {"general.architecture": "llama"},
    "capabilities": ["completion", "tools"],
    "modified_at": "2026-01-01T00:00:00Z",
}

Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def model() -> Iterator[FakeOllama]:
    with FakeOllama().lists("m", "other", loaded=["m"]) as fake:
        fake.facts["/api/show"] = Answer(body=SHOWN)
        yield fake


@pytest.fixture(scope="module")
def server(model: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    folder = tmp_path_factory.mktemp("server")
    with QueueServer(folder, model.url, workers=1) as running:
        yield running


@pytest.fixture
def queue(server: QueueServer) -> Iterator[Client]:
    with server.client() as client:
        yield client


def sync(url: str, verb: str, *args: Any, headers: Any = None, **options: Any) -> Any:
    with ollama.Client(url, headers=headers) as client:
        answer = getattr(client, verb)(*args, **options)
        return list(answer) if options.get("stream") else answer


def asynchronous(url: str, verb: str, *args: Any, headers: Any = None, **options: Any) -> Any:
    async def asked() -> Any:
        async with ollama.AsyncClient(url, headers=headers) as client:
            answer = await getattr(client, verb)(*args, **options)
            return [part async for part in answer] if options.get("stream") else answer

    return asyncio.run(asked())


@pytest.fixture(params=[sync, asynchronous])
def ask(request: pytest.FixtureRequest, server: QueueServer) -> Ask:
    """A verb of the client, and its answer; of a stream all of it."""
    return lambda verb, *args, **options: request.param(server.base_url, verb, *args, **options)


def newest(queue: Client) -> Any:
    (task,) = queue.list_tasks({"limit": 1})
    return task


# --- replies ------------------------------------------------------------------------------------


def test_a_chat(ask: Ask, queue: Client) -> None:
    answer = ask("chat", "m", HI)

    assert (answer.message.role, answer.message.content) == ("assistant", "Hello from here")
    assert (answer.model, answer.done, answer.done_reason) == ("m", True, "stop")
    assert (answer.prompt_eval_count, answer.eval_count, answer.eval_duration) == (3, 3, 2000)
    task = newest(queue)
    assert (task.type, task.status, task.priority, task.title) == ("chat", "completed", 10, "hi")


def test_a_chat_as_it_comes(ask: Ask) -> None:
    *parts, last = ask("chat", "m", HI, stream=True)

    assert [part.message.content for part in parts] == ["Hello", " from", " here"]
    assert not any(part.done for part in parts)
    assert (last.done, last.done_reason, last.eval_count) == (True, "stop", 3)


def test_a_completion(ask: Ask) -> None:
    assert ask("generate", "m", "hi").response == "Hello from here"
    *parts, last = ask("generate", "m", "hi", stream=True)
    assert [part.response for part in parts] == ["Hello", " from", " here"]
    assert last.done


def test_embeddings(ask: Ask) -> None:
    assert ask("embed", "m", ["a", "bcd"]).embeddings == [[1.0, 0.5], [3.0, 0.5]]
    assert ask("embed", "m", "ab", truncate=False).prompt_eval_count == 3
    assert ask("embeddings", "m", "abcd").embedding == [4.0, 0.5]


def test_a_stream_comes_piece_by_piece(server: QueueServer, model: FakeOllama) -> None:
    gate = threading.Event()
    model.script(Stream(gate=gate))
    parts = ollama.Client(server.base_url).chat("m", HI, stream=True)

    assert next(parts).message.content == "Hello"  # while the rest is not yet there
    gate.set()
    assert [part.message.content for part in parts] == [" from", " here", ""]


def test_all_that_is_asked_reaches_the_model(ask: Ask, model: FakeOllama) -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers.

        Args:
          a: one
          b: the other
        """
        return a + b

    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}}
    image = "aGVsbG8="
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "see", "images": [image]},
    ]
    rest = {"options": {"temperature": 0.1, "num_ctx": 512}, "keep_alive": "5m", "think": "low"}
    ask("chat", "m:latest", messages, tools=[add], format=schema, **rest)

    body = model.calls[-1].body
    assert body["messages"] == messages
    assert body["tools"][0]["function"]["name"] == "add"
    assert body["format"] == schema
    assert {name: body[name] for name in rest} == rest

    ask("generate", "m", "hi", images=[image], suffix="!", system="s", template="t", raw=True)
    sent = {"images": [image], "suffix": "!", "system": "s", "template": "t", "raw": True}
    assert {name: model.calls[-1].body[name] for name in sent} == sent


def test_calls_to_tools_come_back(ask: Ask, model: FakeOllama) -> None:
    call = {"function": {"name": "add", "arguments": {"a": 1, "b": 2}}}
    said = {"role": "assistant", "content": "", "tool_calls": [call]}
    model.script(Answer(body={"model": "m", "message": said, "done": True}))

    (found,) = ask("chat", "m", HI).message.tool_calls

    assert (found.function.name, found.function.arguments) == ("add", {"a": 1, "b": 2})


# --- lists and single models --------------------------------------------------------------------


def test_lists(ask: Ask) -> None:
    assert [each.model for each in ask("list").models] == ["m:latest", "other:latest"]
    assert [each.name for each in ask("ps").models] == ["m:latest"]
    shown = ask("show", "m")
    assert shown.capabilities == ["completion", "tools"]
    assert shown.modelinfo == {"general.architecture": "llama"}


def test_a_model_is_loaded_and_unloaded_past_the_queue(
    ask: Ask, queue: Client, model: FakeOllama
) -> None:
    before = queue.get_queue_stats().total_tasks
    with paused(queue):
        ask("generate", "m", keep_alive=-1)
        assert model.calls[-1].path == "/api/generate"
        assert model.calls[-1].body == {"model": "m", "keep_alive": -1, "stream": False}
        ask("chat", "m", [], keep_alive=0)
        assert model.calls[-1].path == "/api/chat"
        calls = len(model.calls)
        unloaded = ask("generate", "other", keep_alive=0)  # which is in nobody's memory

    assert (unloaded.done_reason, len(model.calls)) == ("unload", calls)
    assert queue.get_queue_stats().total_tasks == before


@contextmanager
def paused(queue: Client) -> Iterator[None]:
    queue.pause()
    try:
        yield
    finally:
        queue.resume()


# --- errors -------------------------------------------------------------------------------------


def failure(ask: Ask, verb: str, *args: Any, **options: Any) -> tuple[int, str]:
    with pytest.raises(ollama.ResponseError) as caught:
        ask(verb, *args, **options)
    return caught.value.status_code, caught.value.error


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_nobody_has(ask: Ask, stream: bool) -> None:
    words = "model 'gone' not found"

    assert failure(ask, "chat", "gone", HI, stream=stream) == (404, words)
    assert failure(ask, "generate", "gone") == (404, words)  # to be loaded
    assert failure(ask, "show", "gone") == (404, words)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "told"), [(400, 400), (404, 404), (401, 502), (501, 501)])
def test_the_models_own_refusals(
    ask: Ask, model: FakeOllama, stream: bool, status: int, told: int
) -> None:
    model.script(Answer(status, {"error": "m does not support tools"}))

    found, words = failure(ask, "chat", "m", HI, stream=stream)

    assert found == told
    assert words.endswith(f"answered {status}: m does not support tools")


def test_a_mistake_in_the_request(ask: Ask) -> None:
    assert failure(ask, "chat", "m", [{"role": "user"}], headers={"X-Queue-Priority": "9000"}) == (
        400,
        "X-Queue-Priority: priority must be low, normal, high, critical "
        "or a whole number from 1 to 15",
    )
    assert failure(ask, "embed", "m", [""], headers={"X-Queue-Detach": "perhaps"}) == (
        400,
        "X-Queue-Detach must be true or false",
    )


def test_what_is_not_passed_on(ask: Ask) -> None:
    words = "the queue does not pass this on: ask the model server itself"

    for verb, args in (("pull", ["m"]), ("push", ["m"]), ("delete", ["m"]), ("copy", ["m", "n"])):
        assert failure(ask, verb, *args) == (403, words)
    assert failure(ask, "create", "m", from_="n") == (403, words)


# --- failures of the model server ---------------------------------------------------------------

FAILURES = [Stream(then="cut"), Answer(500, {"error": "out of memory"}), Stream(then="stop")]


@pytest.mark.parametrize("failed", FAILURES)
def test_a_whole_reply_is_tried_again_unseen(
    ask: Ask, model: FakeOllama, queue: Client, failed: Behaviour
) -> None:
    model.script(failed)

    assert ask("chat", "m", HI).message.content == "Hello from here"
    assert newest(queue).attempt == 2


def test_a_stream_is_tried_again_while_nothing_was_sent(ask: Ask, model: FakeOllama) -> None:
    model.script(Answer(500, {"error": "out of memory"}), Stream(words=[], then="cut"))

    parts = ask("chat", "m", HI, stream=True)

    assert "".join(part.message.content for part in parts) == "Hello from here"


def test_a_stream_cannot_begin_anew(ask: Ask, model: FakeOllama, queue: Client) -> None:
    model.script(Stream(then="cut"), Stream(then="hang"))

    status, words = failure(ask, "chat", "m", HI, stream=True)

    task = newest(queue)
    assert (status, words) == (
        -1,  # the client's own: it has had a 200 before
        f"the model server was lost in the middle of task {task.id}; "
        "what came of it is not the whole reply",
    )
    assert queue.wait(task.id, timeout=PATIENCE_S).status is Status.CANCELLED


def test_an_error_in_the_middle(ask: Ask, model: FakeOllama) -> None:
    model.default = Stream(then="error", error="the model runner has died")
    try:
        status, words = failure(ask, "generate", "m", "hi", stream=True)
    finally:
        model.default = Stream()

    assert status == -1
    assert "the model runner has died" in words or "in the middle of task" in words


# --- the queue ----------------------------------------------------------------------------------


def test_it_goes_before_tasks_of_lower_priority(ask: Ask, queue: Client, model: FakeOllama) -> None:
    before = len(model.calls)
    with paused(queue):
        low = [queue.submit_task(generate_task("m", f"low {n}", priority=1)) for n in range(3)]
        said: list[Any] = []
        asking = threading.Thread(target=lambda: said.append(ask("chat", "m", HI)))
        waiting = queue.subscribe(["task_submitted"])
        asking.start()
        waiting.get(PATIENCE_S)
    asking.join(PATIENCE_S)
    for task_id in low:
        queue.wait(task_id, timeout=PATIENCE_S)

    assert said[0].message.content == "Hello from here"
    assert [call.path for call in model.calls[before:]] == ["/api/chat"] + ["/api/generate"] * 3


def test_headers_say_how_it_is_queued(ask: Ask, queue: Client) -> None:
    ask("generate", "m", "hi", headers={"X-Queue-Priority": "low", "X-Queue-Tenant": "nightly"})

    task = newest(queue)
    assert (task.priority, task.tenant) == (1, "nightly")


def test_a_key_finds_the_task_again(ask: Ask, queue: Client, model: FakeOllama) -> None:
    key = {"Idempotency-Key": f"once {len(model.calls)}"}
    first = ask("chat", "m", HI, headers=key)
    calls = len(model.calls)

    again = ask("chat", "m", HI, headers=key)

    assert (again.message, len(model.calls)) == (first.message, calls)
    assert failure(ask, "chat", "m", [*HI, *HI], headers=key)[0] == 409


def test_a_cancelled_task(ask: Ask, queue: Client, model: FakeOllama) -> None:
    model.script(Hang())
    begun = queue.subscribe(["task_started"])

    def cancel() -> None:
        queue.cancel_task(begun.get(PATIENCE_S).task.id)

    cancelling = threading.Thread(target=cancel)
    cancelling.start()
    status, words = failure(ask, "chat", "m", HI)
    cancelling.join()

    assert (status, words) == (499, f"task {newest(queue).id} was cancelled")
