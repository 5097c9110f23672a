"""Requests for responses as chat completions, and what is refused."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_queue.actors.core.model.errors import Invalid
from ollama_queue.actors.core.responses.items import listed
from ollama_queue.actors.core.responses.request import (
    ClientTool,
    chat_request,
    client_tools,
)

PICTURE = "data:image/png;base64,iVBORw0KGgo="
TOOL = {"type": "function", "name": "add", "description": "Adds.", "parameters": {"type": "object"}}
CALL = {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": '{"a": 1}'}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "role", "content", "text", "name", "format", "call_id", "summary"]
            ),
            inner | st.sampled_from(["message", "user", "function", "function_call", "reasoning"]),
        )
    ),
    max_leaves=8,
)


def said(role: str, *parts: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(parts)}


def text(words: str, kind: str = "input_text") -> dict[str, Any]:
    return {"type": kind, "text": words}


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        ("hi", [{"role": "user", "content": "hi"}]),
        ([{"role": "user", "content": "hi"}], [{"role": "user", "content": "hi"}]),
        (
            [said("developer", text("be"), text("brief"))],
            [{"role": "system", "content": "be\nbrief"}],
        ),
        (
            [
                said(
                    "user",
                    text("what?"),
                    {"type": "input_image", "image_url": PICTURE, "detail": "low"},
                )
            ],
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "what?"},
                        {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}},
                    ],
                }
            ],
        ),
        (
            [
                said("user", text("add")),
                {"type": "reasoning", "id": "rs_1", "summary": [text("I must", "summary_text")]},
                said("assistant", text("Let me see.", "output_text")),
                CALL,
                {**CALL, "call_id": "call_2"},
                {"type": "function_call_output", "call_id": "call_1", "output": "2"},
                {"type": "function_call_output", "call_id": "call_2", "output": [text("3")]},
            ],
            [
                {"role": "user", "content": "add"},
                {
                    "role": "assistant",
                    "content": "Let me see.",
                    "reasoning": "I must",
                    "reasoning_content": "I must",
                    "tool_calls": [
                        {
                            "id": call_id,
                            "type": "function",
                            "function": {"name": "add", "arguments": '{"a": 1}'},
                        }
                        for call_id in ("call_1", "call_2")
                    ],
                },
                {"role": "tool", "tool_call_id": "call_1", "content": "2"},
                {"role": "tool", "tool_call_id": "call_2", "content": "3"},
            ],
        ),
        (
            [CALL, said("assistant", text("done", "output_text"))],
            [
                {
                    "role": "assistant",
                    "content": "done",
                    "tool_calls": [
                        {
                            "id": "call_1",
                            "type": "function",
                            "function": {"name": "add", "arguments": '{"a": 1}'},
                        }
                    ],
                }
            ],
        ),
    ],
)
def test_the_input_as_messages(given: Any, messages: Any) -> None:
    assert chat_request({"input": given}) == {"messages": messages}


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (
            {"max_output_tokens": 5, "temperature": 0, "top_p": 0.5},
            {"max_tokens": 5, "temperature": 0, "top_p": 0.5},
        ),
        ({"text": {"format": {"type": "text"}}}, {}),
        (
            {"text": {"format": {"type": "json_object"}}},
            {"response_format": {"type": "json_object"}},
        ),
        (
            {
                "text": {
                    "format": {
                        "type": "json_schema",
                        "name": "n",
                        "schema": {"a": 1},
                        "strict": True,
                    }
                }
            },
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {"a": 1}, "strict": True},
                }
            },
        ),
        ({"reasoning": {"effort": "high", "summary": "auto"}}, {"reasoning_effort": "high"}),
        ({"reasoning": {"effort": "minimal"}}, {"reasoning_effort": "low"}),
        (
            {
                "tools": [{**TOOL, "strict": None}],
                "tool_choice": {"type": "function", "name": "add"},
            },
            {
                "tools": [
                    {"type": "function", "function": {k: v for k, v in TOOL.items() if k != "type"}}
                ],
                "tool_choice": {"type": "function", "function": {"name": "add"}},
            },
        ),
        (
            {
                "tools": [TOOL, {"type": "function", "name": "sub"}],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "required",
                    "tools": [{"type": "function", "name": "sub"}],
                },
            },
            {
                "tools": [{"type": "function", "function": {"name": "sub"}}],
                "tool_choice": "required",
            },
        ),
        (
            {
                "tools": [
                    {
                        "type": "custom",
                        "name": "patch",
                        "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"},
                    }
                ],
                "tool_choice": {"type": "custom", "name": "patch"},
            },
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {
                            "name": "patch",
                            "description": "The input follows this lark grammar:\nstart: X",
                            "parameters": {
                                "type": "object",
                                "properties": {"input": {"type": "string"}},
                                "required": ["input"],
                            },
                        },
                    }
                ],
                "tool_choice": {"type": "function", "function": {"name": "patch"}},
            },
        ),
        ({"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        (
            {"parallel_tool_calls": False, "user": "me", "seed": 1},
            {"parallel_tool_calls": False, "user": "me", "seed": 1},
        ),
        (
            {
                "metadata": {"a": "b"},
                "store": False,
                "truncation": "auto",
                "prompt_cache_key": "k",
                "tools": None,
            },
            {},
        ),
    ],
)
def test_the_other_fields(fields: Any, body: Any) -> None:
    words = {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]}

    allowed = {"tool_choice": "required"} if "allowed_tools" in str(fields) else {}
    assert chat_request({"input": "hi", "instructions": "s", **fields}) == {
        **words,
        **allowed,
        **body,
    }


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"input": None}, "input", "input is missing"),
        ({"input": []}, "input", "at least one item"),
        ({"input": [1]}, "input[0]", "must be an object"),
        ({"input": [{}]}, "input[0].type", "is missing"),
        (
            {"input": [{"type": "item_reference", "id": "x"}]},
            "input[0].type",
            "unknown input item type: item_reference",
        ),
        ({"input": [said("tool")]}, "input[0].role", "must be one of user"),
        (
            {"input": [said("user", {"type": "input_file", "file_id": "f"})]},
            "input[0].content[0].type",
            "is input_file",
        ),
        (
            {"input": [said("user", {"type": "input_image", "file_id": "f"})]},
            "input[0].content[0].image_url",
            "data:image/png",
        ),
        ({"input": [{**CALL, "arguments": {}}]}, "input[0].arguments", "must be a string"),
        (
            {"input": [{"type": "function_call_output", "output": "x"}]},
            "input[0].call_id",
            "must be a string",
        ),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "send the whole conversation"),
        ({"conversation": {"id": "c"}}, "conversation", "is not supported"),
        ({"prompt": {"id": "p"}}, "prompt", "is not supported"),
        (
            {"tools": [{"type": "web_search"}]},
            "tools[0].type",
            "tools[0] is web_search: only tools that the client runs",
        ),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "must be a string"),
        ({"tools": {}}, "tools", "must be a list"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice", "other tools are not supported"),
        ({"tool_choice": "maybe"}, "tool_choice", "must be none, auto, required"),
        (
            {"text": {"format": {"type": "xml"}}},
            "text.format.type",
            "text, json_schema or json_object",
        ),
        (
            {"text": {"format": {"type": "json_schema", "name": "n"}}},
            "text.format.schema",
            "must be an object",
        ),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "none, minimal, low"),
        ({"max_output_tokens": 0}, "max_output_tokens", "at least 1"),
        ({"max_output_tokens": True}, "max_output_tokens", "at least 1"),
        ({"top_logprobs": 21}, "top_logprobs", "from 0 to 20"),
        ({"temperature": "warm"}, "temperature", "must be a number"),
        ({"instructions": ["x"]}, "instructions", "must be a string"),
        ({"metadata": {"a": 1}}, "metadata", "must be strings"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "at most 16 pairs"),
        ({"background": True, "store": False}, "store", "must not be false"),
        ({"background": "yes"}, "background", "true or false"),
        ({"truncation": "some"}, "truncation", "auto or disabled"),
        ({"include": "all"}, "include", "a list of strings"),
    ],
)
def test_what_is_wrong_or_not_supported_is_named(fields: Any, field: str, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        chat_request({"input": "hi", **fields})

    assert caught.value.field == field
    assert words in caught.value.message


ITEMS = st.lists(
    st.one_of(
        st.builds(said, st.sampled_from(["user", "developer"]), st.builds(text, st.text())),
        st.builds(lambda words: said("assistant", text(words, "output_text")), st.text()),
        st.builds(lambda call_id: {**CALL, "call_id": call_id}, st.text()),
        st.builds(
            lambda out: {"type": "function_call_output", "call_id": "c", "output": out}, st.text()
        ),
    ),
    min_size=1,
)


@given(ITEMS)
def test_no_text_and_no_call_is_lost_and_their_order_stays(items: Any) -> None:
    """But for a text of the assistant behind its calls, which belongs to the same message."""
    messages = chat_request({"input": items})["messages"]

    calls = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    outputs = [message["content"] for message in messages if message["role"] == "tool"]
    assert calls == [item["call_id"] for item in items if item["type"] == "function_call"]
    assert outputs == [item["output"] for item in items if "output" in item]
    for role, name in (("user", "user"), ("system", "developer"), ("assistant", "assistant")):
        texts = [m["content"] for m in messages if m["role"] == role and m["content"] is not None]
        given = [item["content"][0]["text"] for item in items if item.get("role") == name]
        assert "\n\n".join(texts) == "\n\n".join(given)


@given(
    st.fixed_dictionaries(
        {"input": JSON}, optional={"tools": JSON, "text": JSON, "tool_choice": JSON}
    )
)
def test_anything_else_is_refused_in_one_sentence(payload: Any) -> None:
    try:
        body = chat_request(payload)
    except Invalid as error:
        assert error.field
    else:
        assert msgspec.json.encode(body)
        items = list(listed(payload["input"], "resp_0"))
        assert len({item["id"] for item in items}) == len(items)


def test_a_call_with_a_text_and_its_result() -> None:
    called = {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "*** Begin"}
    output = {"type": "custom_tool_call_output", "call_id": "c", "output": "done"}
    tools = [{"type": "custom", "name": "patch"}, {"type": "function", "name": "add"}]

    sent, answered = chat_request({"input": [called, output], "tools": tools})["messages"]

    function = {"name": "patch", "arguments": '{"input":"*** Begin"}'}
    assert sent["tool_calls"] == [{"id": "c", "type": "function", "function": function}]
    assert answered == {"role": "tool", "tool_call_id": "c", "content": "done"}
    assert client_tools(tools) == {"patch": ClientTool("patch", is_text=True)}
    assert [item["id"] for item in listed([called, output], "resp_0")] == ["ctc_0_in0", "out_0_in1"]


def test_tools_in_a_namespace() -> None:
    tools = [{"type": "namespace", "name": "agents", "description": "A", "tools": [TOOL]}]
    called = {**CALL, "namespace": "agents"}

    body = chat_request({"input": [called], "tools": tools})

    assert body["tools"][0]["function"]["name"] == "agents__add"
    assert body["messages"][0]["tool_calls"][0]["function"]["name"] == "agents__add"
    assert client_tools(tools) == {"agents__add": ClientTool("add", "agents")}
    for wrong in ({"tools": [TOOL]}, {"name": "a", "tools": 1}, {"name": "a", "tools": tools}):
        with pytest.raises(Invalid) as caught:
            chat_request({"input": "hi", "tools": [{"type": "namespace", **wrong}]})
        assert (caught.value.field or "").startswith("tools[0]")


def test_input_items_are_shown_whole() -> None:
    short, call = listed(
        [{"role": "assistant", "content": "hi"}, {**CALL, "id": "fc_7"}], "resp_0a"
    )

    assert short == {
        "id": "msg_0a_in0",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "hi", "annotations": []}],
    }
    assert call == {"id": "fc_7", "status": "completed", **CALL}
