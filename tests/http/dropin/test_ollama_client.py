"""The official client of Ollama, which has no idea of a queue, at the queue's door."""

import threading

import ollama

from ollama_queue import Client
from tests.support.fakes.model_server import Answer, FakeOllama, Stream
from tests.support.ollama_clients import HI, Ask, newest, paused
from tests.support.servers.queue_server import QueueServer

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


def test_each_client_gets_its_own_answer(ask: Ask, model: FakeOllama) -> None:
    """Also when the server, or a proxy before it, sends an interim answer before each."""
    model.interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    model.default = lambda body: Stream(words=[body["messages"][-1]["content"]])
    try:
        people = ("Alice", "Bob", "Carol")
        answers = [ask("chat", "m", [{"role": "user", "content": name}]) for name in people]
    finally:
        model.interim, model.default = b"", Stream()

    assert [answer.message.content for answer in answers] == list(people)


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
