"""Replies of chats as messages and as streams of events."""

import re
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from ollama_queue.actors.base.cooperation import never_yield, run_steps
from ollama_queue.actors.core.anthropic.conversation import messages_of
from ollama_queue.actors.core.anthropic.events import PING, MessageEvents
from ollama_queue.actors.core.anthropic.replies import message_of
from ollama_queue.actors.executors.ollama import ChatAssembly
from tests.support.anthropic_messages import assembled, lines

ID = "0199f3a2-1c4d-7abc-8def-0123456789ab"
THINKS: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "prefer_think": True}
SILENT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "think": False}


def stored(result: Any, payload: dict[str, Any] = THINKS) -> dict[str, Any]:
    return message_of(ID, "m", payload, result)


def events_of(streamed: list[dict[str, Any]], payload: dict[str, Any]) -> list[dict[str, Any]]:
    events = MessageEvents(ID, "m", payload)
    return [event for line in streamed for event in events.take(line)]


def whole(streamed: list[dict[str, Any]]) -> dict[str, Any]:
    assembly = ChatAssembly()
    for line in streamed:
        assembly.take(line)
    return assembly.whole(streamed[-1])


def line(message: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", **message}, "done": False, **more}


def test_a_whole_message() -> None:
    call = {"id": "call_1", "function": {"name": "f", "arguments": {"a": 1}}}
    reply = {
        "message": {"thinking": "Hm.", "content": "Hello", "tool_calls": [call]},
        "done_reason": "stop",
        "prompt_eval_count": 3,
        "eval_count": 4,
    }

    assert stored(reply) == {
        "id": "msg_1c4d7abc8def0123456789ab",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": ""},
            {"type": "text", "text": "Hello"},
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }


def test_every_event_of_a_stream() -> None:
    call = {"function": {"index": 0, "name": "f", "arguments": {"a": 1}}}
    streamed = [
        line({"content": "", "thinking": "H"}),
        line({"content": "", "thinking": "m"}),
        line({"content": "Hel"}),
        line({"content": "lo"}),
        line({"content": "", "tool_calls": [call]}),
        line({"content": ""}, done=True, done_reason="stop", prompt_eval_count=3, eval_count=4),
    ]
    text, thinking = {"type": "text", "text": ""}, {"type": "thinking", "thinking": ""}
    tool = {"type": "tool_use", "id": "toolu_1c4d7abc8def0123456789ab_0", "name": "f", "input": {}}

    def start(index: int, block: dict[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_start", "index": index, "content_block": block}

    def delta(index: int, kind: str, **piece: str) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **piece}}

    def stop(index: int) -> dict[str, Any]:
        return {"type": "content_block_stop", "index": index}

    assert events_of(streamed, THINKS) == [
        {
            "type": "message_start",
            "message": {
                "id": "msg_1c4d7abc8def0123456789ab",
                "type": "message",
                "role": "assistant",
                "model": "m",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {"input_tokens": 1, "output_tokens": 0},
            },
        },
        start(0, {**thinking, "signature": ""}),
        delta(0, "thinking_delta", thinking="H"),
        delta(0, "thinking_delta", thinking="m"),
        stop(0),
        start(1, text),
        delta(1, "text_delta", text="Hel"),
        delta(1, "text_delta", text="lo"),
        stop(1),
        start(2, tool),
        delta(2, "input_json_delta", partial_json='{"a":1}'),
        stop(2),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {"input_tokens": 3, "output_tokens": 4},
        },
        {"type": "message_stop"},
    ]


@given(lines(in_order=True), st.sampled_from([THINKS, SILENT]))
def test_a_stream_makes_the_message_that_is_stored(
    streamed: list[dict[str, Any]], payload: dict[str, Any]
) -> None:
    kept = stored(whole(streamed), payload)

    assert assembled(events_of(streamed, payload)) == kept


@given(lines(in_order=False), st.sampled_from([THINKS, SILENT]))
def test_models_that_mix_their_blocks_make_a_message_too(
    streamed: list[dict[str, Any]], payload: dict[str, Any]
) -> None:
    message = assembled(events_of(streamed, payload))
    kept = stored(whole(streamed), payload)

    for kind, field in (("text", "text"), ("thinking", "thinking")):
        joined = ("".join(each[field] for each in content if each["type"] == kind)
                  for content in (message["content"], kept["content"]))  # fmt: skip
        assert len(set(joined)) == 1
    tools = [each for each in message["content"] if each["type"] == "tool_use"]
    assert tools == [each for each in kept["content"] if each["type"] == "tool_use"]
    assert message["stop_reason"] == kept["stop_reason"]


@given(lines(in_order=True))
def test_a_message_sent_back_is_what_the_model_said(streamed: list[dict[str, Any]]) -> None:
    reply = whole(streamed)
    content = stored(reply)["content"]
    sent = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": content}]

    said = [
        each for each in run_steps(messages_of(sent, 0), never_yield) if each["role"] == "assistant"
    ]

    original = {name: value for name, value in reply["message"].items() if value}
    calls = original.pop("tool_calls", [])
    if len(original) > 1 or calls:
        (message,) = said
        got = message.pop("tool_calls", [])
        assert message == {"content": "", **original}
        assert [each["function"]["name"] for each in got] == [
            each["function"]["name"] for each in calls
        ]
        assert [each["function"]["arguments"] for each in got] == [
            each["function"]["arguments"] for each in calls
        ]
        assert all(re.fullmatch(r"[\w-]+", each["id"], re.ASCII) for each in got)
    else:
        assert said == []


FIELDS = "message tool_calls function name arguments done content thinking id done_reason"
STRANGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", *FIELDS.split()]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS.split()), inner)
    ),
)


@given(STRANGE)
def test_strange_replies_make_messages_too(strange: Any) -> None:
    list(MessageEvents(ID, "m", THINKS).take(strange))
    message = stored(strange)

    assert message["type"] == "message"


def test_thinking_that_nobody_asked_for_is_not_shown_but_keeps_the_stream_alive() -> None:
    streamed = [line({"content": "", "thinking": "Hm"})] * 70
    streamed.append(line({"content": "Yes"}, done=True, done_reason="stop"))

    events = events_of(streamed, SILENT)

    assert [event for event in events if event == PING] == [PING, PING]
    assert assembled(events)["content"] == [{"type": "text", "text": "Yes"}]


def test_why_a_reply_ended() -> None:
    def reason(**end: Any) -> tuple[Any, Any]:
        message = stored({"message": {"content": "x"}, **end})
        return message["stop_reason"], message["stop_sequence"]

    assert reason(done_reason="stop") == ("end_turn", None)
    assert reason(done_reason="length") == ("max_tokens", None)
    assert reason(done_reason="stop", stop_sequence="END") == ("stop_sequence", "END")
    assert reason(done_reason="content_filter") == ("refusal", None)
    assert reason() == ("end_turn", None)
