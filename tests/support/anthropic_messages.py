"""What Anthropic's clients make of a stream of events, and requests and replies at random."""

import json
from typing import Any

import hypothesis.strategies as st

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SOME_TEXT = TEXTS.filter(bool)
NAMES = st.text("abc_-1", min_size=1, max_size=8)
ARGUMENTS = st.dictionaries(SOME_TEXT, st.none() | st.booleans() | st.integers(0, 9) | TEXTS)
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)


def image(data: str = PNG) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}


def assembled(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that a client has at the end of a stream. Fails for events out of order."""
    pings = [event for event in events if event["type"] == "ping"]
    start, *inner, last, stop = [event for event in events if event not in pings]
    assert start["type"] == "message_start"
    assert (last["type"], stop) == ("message_delta", {"type": "message_stop"})
    message: dict[str, Any] = start["message"]
    assert message["content"] == []
    assert (message["stop_reason"], message["stop_sequence"]) == (None, None)
    blocks: list[dict[str, Any]] = []
    is_open, arguments = False, ""
    for event in inner:
        assert event["index"] == (len(blocks) - 1 if is_open else len(blocks))
        match event["type"]:
            case "content_block_start":
                assert not is_open
                is_open, arguments = True, ""
                blocks.append(dict(event["content_block"]))
            case "content_block_delta":
                assert is_open
                match event["delta"]:
                    case {"type": "text_delta", "text": text}:
                        blocks[-1]["text"] += text
                    case {"type": "thinking_delta", "thinking": text}:
                        blocks[-1]["thinking"] += text
                    case {"type": "input_json_delta", "partial_json": text}:
                        arguments += text
                        assert blocks[-1]["type"] == "tool_use"
                    case other:
                        raise AssertionError(other)
            case "content_block_stop":
                assert is_open
                is_open = False
                if blocks[-1]["type"] == "tool_use":
                    blocks[-1]["input"] = json.loads(arguments)
            case other:
                raise AssertionError(other)
    assert not is_open
    return {**message, "content": blocks, **last["delta"], "usage": last["usage"]}


@st.composite
def lines(draw: st.DrawFn, *, in_order: bool) -> list[dict[str, Any]]:
    """The lines of a chat's stream from Ollama, in the order in which models usually speak."""
    thinking = [{"thinking": text, "content": ""} for text in draw(st.lists(TEXTS, max_size=3))]
    text = [{"content": text} for text in draw(st.lists(TEXTS, max_size=3))]
    calls = draw(
        st.lists(
            st.fixed_dictionaries(
                {"function": st.fixed_dictionaries({"name": NAMES, "arguments": ARGUMENTS})},
                optional={"id": NAMES | st.sampled_from(["", "a b", 3])},
            ),
            max_size=3,
        )
    )
    called = [{"content": "", "tool_calls": [call]} for call in calls]
    pieces: list[dict[str, Any]] = [*thinking, *text, *called]
    if not in_order:
        pieces = draw(st.permutations(pieces))
    end: dict[str, Any] = {
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": draw(st.sampled_from(["stop", "length", "content_filter", "load", None, 1])),
    }
    if draw(st.booleans()):
        end |= {"prompt_eval_count": 7, "eval_count": 9}
    if draw(st.booleans()):
        end["stop_sequence"] = "END"
    return [
        *({"message": {"role": "assistant", **piece}, "done": False} for piece in pieces),
        end,
    ]
