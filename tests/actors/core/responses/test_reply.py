"""Pieces of chat completions as the events and the result of a response."""

from typing import Any

import msgspec
import pytest
from hypothesis import given

from ollama_queue.actors.core.openai.chunks import as_piece
from ollama_queue.actors.core.responses.reply import ResponseReply, events_of
from ollama_queue.actors.core.responses.request import ClientTool
from tests.support.chat_pieces import call, completions, piece, usage

ADDED, DONE = "response.output_item.added", "response.output_item.done"
TEXT = [
    ADDED,
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    DONE,
]
THOUGHT = [
    ADDED,
    "response.reasoning_summary_text.delta",
    "response.reasoning_summary_text.done",
    DONE,
]
CALL = [
    ADDED,
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    DONE,
]


TOOLS = {
    "patch": ClientTool("patch", is_text=True),
    "agents__close": ClientTool("close", "agents"),
}


def told(*pieces: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The events of a reply, and its result as it is stored."""
    reply = ResponseReply(TOOLS)
    events = [event for each in pieces for event in reply.take(each)]
    events += reply.end()
    return events, msgspec.json.decode(msgspec.json.encode(reply.whole()))


def kinds(events: list[Any]) -> list[str]:
    return [event["type"] for event in events]


def test_a_text() -> None:
    events, result = told(piece(content="Hel"), piece(content="lo"), piece("stop"), usage(3, 2))

    part = {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
    item = {"type": "message", "status": "completed", "role": "assistant", "content": [part]}
    place: dict[str, Any] = {"output_index": 0, "content_index": 0}
    assert kinds(events) == TEXT
    assert events[0]["item"] == {**item, "status": "in_progress", "content": []}
    assert events[1] == {"type": TEXT[1], **place, "part": {**part, "text": ""}}
    assert events[2] == {"type": TEXT[2], **place, "delta": "Hel", "logprobs": []}
    assert events[4] == {"type": TEXT[4], **place, "text": "Hello", "logprobs": []}
    assert events[5] == {"type": TEXT[5], **place, "part": part}
    assert events[6] == {"type": DONE, "output_index": 0, "item": item}
    assert result == {
        "object": "response",
        "status": "completed",
        "incomplete_details": None,
        "model": "m",
        "output": [item],
        "usage": {
            "input_tokens": 3,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 2,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 5,
        },
        "deltas": [[3, 2]],
    }


def test_thoughts_a_text_and_calls() -> None:
    events, result = told(
        piece(role="assistant", content=""),
        piece(reasoning_content="Hm."),
        piece(content="I "),
        piece(content="add."),
        call(0, "", id="call_1", name="add"),
        call(0, '{"a": 1}'),
        call(1, "{}", id="call_2", name="sub"),
        piece("tool_calls"),
    )

    assert kinds(events) == [*THOUGHT, *TEXT, *CALL, *CALL]
    assert [item["type"] for item in result["output"]] == [
        "reasoning",
        "message",
        "function_call",
        "function_call",
    ]
    assert result["output"][0]["summary"] == [{"type": "summary_text", "text": "Hm."}]
    assert result["output"][2] == {
        "type": "function_call",
        "status": "completed",
        "call_id": "call_1",
        "name": "add",
        "arguments": '{"a": 1}',
    }
    added, delta, done, _ = events[11:15]
    assert added["item"] == {**result["output"][2], "status": "in_progress", "arguments": ""}
    assert (delta["delta"], done["arguments"], done["name"]) == ('{"a": 1}', '{"a": 1}', "add")
    assert result["usage"] is None


def test_a_second_call_may_come_under_the_index_of_the_first() -> None:
    _, result = told(call(0, "1", id="a", name="f"), call(0, "2", id="b", name="g"))

    assert [(each["call_id"], each["arguments"]) for each in result["output"]] == [
        ("a", "1"),
        ("b", "2"),
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (['{"inp', 'ut": "*** Begin"}'], "*** Begin"),
        (["*** Be", "gin"], "*** Begin"),  # not as it was told to
        (['"*** Begin"'], "*** Begin"),
        (['{"input": ""}'], ""),
        (['{"patch": 1}'], '{"patch": 1}'),
    ],
)
def test_a_call_of_a_tool_that_takes_a_text(arguments: list[str], text: str) -> None:
    pieces = [call(0, "", id="call_1", name="patch"), *(call(0, each) for each in arguments)]
    events, result = told(*pieces, piece("tool_calls"))

    (item,) = result["output"]
    assert item == {
        "type": "custom_tool_call",
        "status": "completed",
        "call_id": "call_1",
        "name": "patch",
        "input": text,
    }
    grown = ["response.custom_tool_call_input.delta"] if text else []
    assert kinds(events) == [ADDED, *grown, "response.custom_tool_call_input.done", DONE]
    assert events[0]["item"] == {**item, "status": "in_progress", "input": ""}
    assert events[-2]["input"] == text
    assert list(events_of(result)) == events


def test_a_call_of_a_tool_in_a_namespace() -> None:
    pieces = [call(0, "{}", id="call_1", name="agents__close"), piece("tool_calls")]
    events, result = told(*pieces)

    (item,) = result["output"]
    assert (item["namespace"], item["name"], item["arguments"]) == ("agents", "close", "{}")
    assert events[0]["item"] == {**item, "status": "in_progress", "arguments": ""}
    assert list(events_of(result)) == events


def test_what_comes_late_for_a_call_is_in_the_result() -> None:
    pieces = [call(0, "1", id="a", name="f"), call(1, "2", id="b", name="g"), call(0, "3")]
    events, result = told(*pieces)

    assert [each["arguments"] for each in result["output"]] == ["13", "2"]
    assert kinds(list(events_of(result))) == kinds(events)


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("stop", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_how_a_reply_ended(finish: str, status: str, reason: str | None) -> None:
    _, result = told(piece(content="a"), piece(finish))

    assert result["status"] == result["output"][0]["status"] == status
    assert result["incomplete_details"] == (reason and {"reason": reason})


def test_a_reply_without_anything_is_an_empty_text() -> None:
    events, result = told(piece("stop"))

    assert kinds(events) == [kind for kind in TEXT if not kind.endswith("delta")]
    assert result["output"][0]["content"][0]["text"] == ""


def test_log_probabilities() -> None:
    token = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    with_logprobs = piece(content="a")
    with_logprobs["choices"][0]["logprobs"] = {"content": [token]}
    events, result = told(with_logprobs, piece("stop"))

    assert events[2]["logprobs"] == events[3]["logprobs"] == [token]
    assert result["output"][0]["content"][0]["logprobs"] == [token]


def test_a_reply_that_was_not_streamed() -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    message = {"role": "assistant", "content": "a", "reasoning_content": "b", "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}

    events, _ = told(as_piece({"object": "chat.completion", "choices": [choice]}))

    assert kinds(events) == [*THOUGHT, *TEXT[:2], *TEXT[3:], *CALL]


@given(completions())
def test_the_events_are_known_again_from_the_result(pieces: list[dict[str, Any]]) -> None:
    events, result = told(*pieces)

    assert list(events_of(result)) == events


@given(completions())
def test_nothing_is_lost_and_each_item_is_whole(pieces: list[dict[str, Any]]) -> None:
    events, result = told(*pieces)

    deltas = [each["choices"][0]["delta"] for each in pieces if each["choices"]]
    for kind, names, text_of in (
        ("message", ("content",), lambda item: item["content"][0]["text"]),
        ("reasoning", ("reasoning",), lambda item: item["summary"][0]["text"]),
    ):
        given = "".join(delta.get(name) or "" for delta in deltas for name in names)
        assert "".join(text_of(i) for i in result["output"] if i["type"] == kind) == given
    for index, item in enumerate(result["output"]):
        own = [event for event in events if event["output_index"] == index]
        assert own == events[events.index(own[0]) : events.index(own[-1]) + 1]  # one after another
        assert (own[0]["type"], own[-1]["type"], own[-1]["item"]) == (ADDED, DONE, item)
        grown = "".join(event["delta"] for event in own if event["type"].endswith(".delta"))
        (whole,) = [
            e for e in own if e["type"].endswith((".text.done", "_text.done", "arguments.done"))
        ]
        assert grown == whole.get("text", whole.get("arguments"))
