"""Pieces of OpenAI's streams, put together as if they had not been streamed."""

from typing import Any

from ollama_queue.actors.core.model.tasks import TaskType
from ollama_queue.actors.core.openai.chunks import as_piece
from ollama_queue.actors.executors.openai_whole_reply import WholeReply
from tests.support.harness.executor import delta

HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 5, "model": "m"}


def whole(*pieces: dict[str, Any], kind: TaskType = TaskType.CHAT) -> dict[str, Any]:
    reply = WholeReply(kind)
    for piece in pieces:
        reply.take(piece)
    return reply.whole()


def message(*pieces: dict[str, Any]) -> dict[str, Any]:
    (choice,) = whole(*pieces)["choices"]
    found: dict[str, Any] = choice["message"]
    return found


def test_head_texts_end_and_usage() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    reply = whole(
        {**HEAD, **delta(role="assistant", content=""), "usage": None, "obfuscation": "x"},
        {**HEAD, **delta(reasoning_content="hm")},
        {**HEAD, **delta(reasoning_content="m", content="He")},
        {**HEAD, **delta(content="llo"), "system_fingerprint": "f"},
        {**HEAD, **delta("length")},
        {**HEAD, "choices": [], "usage": usage},
    )

    said = {"role": "assistant", "content": "Hello", "reasoning_content": "hmm"}
    assert reply == {
        "id": "c1",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "system_fingerprint": "f",
        "choices": [{"index": 0, "message": said, "finish_reason": "length"}],
        "usage": usage,
    }


def test_calls_of_tools_come_in_pieces() -> None:
    def call(index: int, name: str | None, arguments: str, **more: Any) -> dict[str, Any]:
        function = {"arguments": arguments} | ({"name": name} if name else {})
        return delta(tool_calls=[{"index": index, "function": function, **more}])

    said = message(
        call(0, "add", "", id="a", type="function"),
        call(0, None, '{"x"'),
        call(1, "sub", "{}", id="b", type="function"),
        call(0, None, ": 1}"),
    )

    assert said["content"] is None
    assert said["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "add", "arguments": '{"x": 1}'}},
        {"id": "b", "type": "function", "function": {"name": "sub", "arguments": "{}"}},
    ]


def test_calls_that_share_an_index_are_told_by_their_ids() -> None:
    def call(call_id: str) -> dict[str, Any]:
        function = {"name": "add", "arguments": "{}"}
        return delta(tool_calls=[{"index": 0, "id": call_id, "function": function}])

    assert [each["id"] for each in message(call("a"), call("b"))["tool_calls"]] == ["a", "b"]


def test_several_choices_and_their_logprobs() -> None:
    def piece(index: int, text: str) -> dict[str, Any]:
        logprobs = {"content": [{"token": text, "logprob": -1.0}]}
        return {"choices": [{"index": index, "delta": {"content": text}, "logprobs": logprobs}]}

    first, second = whole(piece(1, "b"), piece(0, "a"), piece(1, "B"))["choices"]

    assert (first["index"], first["message"]["content"]) == (0, "a")
    assert second["message"]["content"] == "bB"
    assert [each["token"] for each in second["logprobs"]["content"]] == ["b", "B"]


def test_a_completion() -> None:
    reply = whole(
        {"choices": [{"index": 0, "text": "a", "finish_reason": None}]},
        {"choices": [{"index": 0, "text": "b", "finish_reason": "stop"}]},
        kind=TaskType.GENERATE,
    )

    assert reply["object"] == "text_completion"
    assert reply["choices"] == [{"index": 0, "text": "ab", "finish_reason": "stop"}]


def test_a_whole_reply_as_one_piece_and_back() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    said = {"role": "assistant", "content": "x", "tool_calls": [call]}
    reply = {
        **HEAD,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": said, "finish_reason": "stop"}],
    }

    piece = as_piece(reply)

    assert piece["object"] == "chat.completion.chunk"
    assert piece["choices"][0]["delta"]["tool_calls"][0]["index"] == 0
    assert whole(piece) == reply
    assert as_piece(piece) is piece


def test_nonsense_is_no_mistake_of_ours() -> None:
    nonsense: list[dict[str, Any]] = [
        {"choices": None},
        {"choices": ["x", {"index": "one", "delta": "text"}, {"delta": {"tool_calls": [7, {}]}}]},
        {"choices": [{"index": 0, "delta": {"content": 5, "tool_calls": "x"}}]},
        {"choices": [{"index": 0, "delta": {"content": {"a": [1]}, "tool_calls": {"b": 1}}}]},
    ]

    whole(*nonsense)
    for piece in nonsense:
        as_piece(piece)
