"""Requests to `/v1/messages` as chat tasks, and what cannot be one."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ollama_queue.actors.base.cooperation import never_yield, run_steps
from ollama_queue.actors.core.anthropic.requests import task_fields, tenant_of
from ollama_queue.actors.core.anthropic.token_estimate import estimate
from ollama_queue.actors.core.intake.submission import new_task
from ollama_queue.actors.core.model.errors import Invalid
from ollama_queue.actors.core.model.tasks import NewTask, Spec, TaskType
from ollama_queue.actors.core.openai.translation import request_of
from tests.support.anthropic_messages import PNG, image

HI = [{"role": "user", "content": "hi"}]
WEATHER = {
    "name": "weather",
    "description": "The weather somewhere",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
FUNCTION = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather somewhere",
        "parameters": WEATHER["input_schema"],
    },
}
OTHER = {"name": "other", "input_schema": {"type": "object"}}


def task(**body: Any) -> NewTask:
    request = {"model": "m", "max_tokens": 9, "messages": HI, **body}
    return new_task(run_steps(task_fields(request), never_yield))


def payload(**body: Any) -> dict[str, Any]:
    return task(**body).payload


def messages(*given: dict[str, Any]) -> Any:
    return payload(messages=list(given))["messages"]


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def called(call_id: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "weather", "input": arguments}


def test_a_request() -> None:
    made = task(
        system=[text("be brief"), {**text("be kind"), "cache_control": {"type": "ephemeral"}}],
        temperature=0.5,
        top_p=1,
        top_k=40,
        stop_sequences=["END"],
        tools=[{**WEATHER, "cache_control": {"type": "ephemeral"}}],
        tool_choice={"type": "auto"},
        thinking={"type": "enabled", "budget_tokens": 1024},
        metadata={"user_id": "ann"},
        service_tier="auto",
        context_management={"edits": []},
        stream=True,
    )

    assert (made.type, made.model) == (TaskType.CHAT, "m")
    assert made.payload == {
        "system": "be brief\n\nbe kind",
        "messages": HI,
        "tools": [FUNCTION],
        "prefer_think": True,
    }
    assert made.options == {
        "num_predict": 9,
        "temperature": 0.5,
        "top_p": 1,
        "top_k": 40,
        "stop": ["END"],
    }


def test_a_conversation_with_tools_images_and_thinking() -> None:
    assert messages(
        user(text("Weather here?"), image(), text("Soon.")),
        assistant(
            {"type": "thinking", "thinking": "Two cities.", "signature": "x"},
            {"type": "redacted_thinking", "data": "x"},
            text("Let me "),
            text("look."),
            called("toolu_1", city="Rome"),
            called("toolu_2", city="Oslo"),
        ),
        user(
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"},
            {
                "type": "tool_result",
                "tool_use_id": "toolu_2",
                "content": [text("rain:"), image("iVBORw0KGgo2")],
            },
            text("So?"),
        ),
    ) == [
        {"role": "user", "content": "Weather here?\n\nSoon.", "images": [PNG]},
        {
            "role": "assistant",
            "content": "Let me look.",
            "thinking": "Two cities.",
            "tool_calls": [
                {"id": "toolu_1", "function": {"name": "weather", "arguments": {"city": "Rome"}}},
                {"id": "toolu_2", "function": {"name": "weather", "arguments": {"city": "Oslo"}}},
            ],
        },
        {
            "role": "tool",
            "content": "sunny",
            "tool_call_id": "toolu_1",
            "tool_name": "weather",
        },
        {"role": "tool", "content": "rain:", "tool_call_id": "toolu_2", "tool_name": "weather"},
        {"role": "user", "content": "So?", "images": ["iVBORw0KGgo2"]},
    ]


def test_it_can_be_sent_to_any_server() -> None:
    """An OpenAI-compatible server gets the same conversation."""
    made = task(
        messages=[
            user(image()),
            assistant(called("toolu_1")),
            user({"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True}),
        ],
        tools=[WEATHER],
        tool_choice={"type": "any"},
        thinking={"type": "adaptive"},
        output_config={
            "effort": "xhigh",
            "format": {"type": "json_schema", "schema": {"type": "object"}},
        },
        top_k=3,
    )

    path, body = request_of(made.type, "m", Spec(made.payload, made.options))

    url = f"data:image/png;base64,{PNG}"
    function = {"name": "weather", "arguments": "{}"}
    assert path == "/chat/completions"
    assert body == {
        "model": "m",
        "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "toolu_1", "type": "function", "function": function}],
            },
            {"role": "tool", "content": "error", "tool_call_id": "toolu_1"},
        ],
        "tools": [FUNCTION],
        "tool_choice": "required",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": {"type": "object"}},
        },
        "reasoning_effort": "high",
        "max_tokens": 9,
        "top_k": 3,
    }


@pytest.mark.parametrize(
    ("fields", "thinks"),
    [
        ({}, {"think": False}),
        ({"thinking": {"type": "disabled"}}, {"think": False}),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, {"think": False}),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, {"prefer_think": True}),
        ({"thinking": {"type": "adaptive"}}, {"prefer_think": True}),
        ({"output_config": {"effort": "low"}}, {"prefer_think": "low"}),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
            {"prefer_think": "max"},
        ),
    ],
)
def test_how_much_to_think(fields: dict[str, Any], thinks: dict[str, Any]) -> None:
    got = payload(**fields)

    assert {name: got[name] for name in ("think", "prefer_think") if name in got} == thinks


@pytest.mark.parametrize(
    ("choice", "tools"),
    [
        ({"type": "none"}, {}),
        (
            {"type": "tool", "name": "weather"},
            {"tools": [FUNCTION], "tool_choice": "required"},
        ),
    ],
)
def test_which_tools_to_call(choice: dict[str, Any], tools: dict[str, Any]) -> None:
    got = payload(tools=[WEATHER, OTHER], tool_choice=choice)

    assert {name: got[name] for name in ("tools", "tool_choice") if name in got} == tools


def test_a_turn_is_one_message() -> None:
    """Claude Code sends messages of the system behind those of the user."""
    system = {"role": "system", "content": "Tools: none."}
    result = {"type": "tool_result", "tool_use_id": "x", "content": "sunny"}
    made = payload(
        system="be brief",
        messages=[
            system,
            {"role": "user", "content": "hi"},
            system,
            user(image()),
            assistant(text("Let me ")),
            assistant(text("look."), called("x")),
            user(text("Well?")),
            user(result),
        ],
    )

    call = {"id": "x", "function": {"name": "weather", "arguments": {}}}
    assert made["system"] == "be brief\n\nTools: none."
    assert made["messages"] == [
        {"role": "user", "content": "hi\n\nTools: none.", "images": [PNG]},
        {"role": "assistant", "content": "Let me look.", "tool_calls": [call]},
        {"role": "tool", "content": "sunny", "tool_call_id": "x", "tool_name": "weather"},
        {"role": "user", "content": "Well?"},
    ]


def test_documents_and_search_results_are_read_as_text() -> None:
    plain = {"type": "document", "source": {"type": "text", "data": "A"}}
    nested = {"type": "document", "source": {"type": "content", "content": [text("B")]}}
    found = {"type": "search_result", "source": "s", "title": "t", "content": [text("C")]}
    result = {"type": "tool_result", "tool_use_id": "x", "content": [nested, text("D")]}

    assert messages(user(plain, nested, found, result)) == [
        {"role": "tool", "content": "B\n\nD", "tool_call_id": "x"},
        {"role": "user", "content": "A\n\nB\n\nC"},
    ]


def test_what_only_anthropic_knows_is_skipped() -> None:
    server = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    empty = user(text(""))

    assert messages(user(text("hi")), assistant(server, text("ok")), empty) == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "ok"},
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 1 << 40}, "max_tokens"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [user(text(""))]}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [user({"text": "x"})]}, "messages[0].content[0]"),
        ({"messages": [user({"type": "text"})]}, "messages[0].content[0].text"),
        (
            {"messages": [user({"type": "image", "source": {"type": "url", "url": "http://a"}})]},
            "messages[0].content[0].source",
        ),
        (
            {"messages": [user(image("data:image/png;base64,x"))]},
            "messages[0].content[0].source.data",
        ),
        (
            {"messages": [user({"type": "document", "source": {"type": "base64"}})]},
            "messages[0].content[0].source",
        ),
        (
            {"messages": [assistant({"type": "tool_use", "id": "x"})]},
            "messages[0].content[0].name",
        ),
        (
            {"messages": [assistant({**called("x"), "input": [1]})]},
            "messages[0].content[0].input",
        ),
        (
            {"messages": [user({"type": "tool_result", "content": "x"})]},
            "messages[0].content[0].tool_use_id",
        ),
        ({"system": 3}, "system"),
        ({"system": [3]}, "system[0]"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 10**400}, "temperature"),
        ({"top_p": True}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"tools": {}, "tool_choice": 3}, "tool_choice"),
        ({"tools": "f"}, "tools"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tools": [{**OTHER, "description": 3}]}, "tools[0].description"),
        ({"tools": [OTHER], "tool_choice": {"type": "tool", "name": "x"}}, "tool_choice.name"),
        ({"tools": [OTHER], "tool_choice": {"type": "perhaps"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"thinking": True}, "thinking"),
        ({"thinking": {"type": "sometimes"}}, "thinking.type"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"output_config": {"effort": ["low"]}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format"),
        ({"output_config": {"format": "json"}}, "output_config.format"),
        ({"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
    ],
)
def test_what_is_refused_is_named(body: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        task(**body)

    assert refused.value.field == field
    assert field in refused.value.message


def test_blocks_may_not_be_nested_without_end() -> None:
    block = text("x")
    for _ in range(400):
        block = {"type": "tool_result", "tool_use_id": "x", "content": [block]}

    with pytest.raises(Invalid, match="nested too deeply"):
        task(messages=[user(block)])


def test_the_user_is_the_tenant() -> None:
    long = "u" * 300

    assert tenant_of({}) is None
    assert tenant_of({"metadata": {"user_id": None}}) is None
    assert tenant_of({"metadata": {"user_id": " "}}) is None
    assert tenant_of({"metadata": {"user_id": "ann"}}) == "ann"
    assert tenant_of({"metadata": {"user_id": '{"a": 1}'}}) == '{"a": 1}'
    assert tenant_of({"metadata": {"user_id": "{" * 200}}) == "{" * 200
    digest = tenant_of({"metadata": {"user_id": long}})
    assert digest is not None
    assert len(digest) < 64
    assert digest != tenant_of({"metadata": {"user_id": long + "u"}})
    for metadata in (3, {"user_id": 3}):
        with pytest.raises(Invalid):
            tenant_of({"metadata": metadata})


def test_tokens_are_estimated_from_all_that_the_model_reads() -> None:
    small = estimate(payload())

    assert small == 1
    assert estimate(payload(system="x" * 400)) >= 100
    assert estimate(payload(tools=[{**OTHER, "description": "x" * 400}])) >= 100
    assert estimate(payload(messages=[user(text("x" * 400))])) >= 100
    assert estimate(payload(messages=[assistant(called("x", city="x" * 400))])) >= 100
    assert 100 < estimate(payload(messages=[user(image("A" * 400_000))])) < 10_000


@pytest.mark.parametrize(
    ("user_id", "tenant"),
    [
        ("user_0a1b_account_8-9_session_1-2", "user_0a1b"),
        ("user_0a1b_account__session_1-2", "user_0a1b"),
        ('{"device_id":"d1","account_uuid":"","session_id":"s"}', "d1"),
        ('{"device_id":"d1","account_uuid":"a1","session_id":"s"}', "a1"),
        ('{"device_id":3}', '{"device_id":3}'),
    ],
)
def test_a_session_of_claude_code_is_no_tenant_of_its_own(user_id: str, tenant: str) -> None:
    assert tenant_of({"metadata": {"user_id": user_id}}) == tenant


WORDS = ["user", "assistant", "text", "image", "tool_use", "tool_result", "document", "base64"]
INNER = "role content type text source data media_type id name input tool_use_id thinking user_id"
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*INNER.split(), "effort", "format"]), inner, max_size=4)
    ),
    max_leaves=20,
)
FIELDS = ["model", "max_tokens", "messages", "system", "temperature", "top_p", "top_k", "tools"]
FIELDS += ["stop_sequences", "tool_choice", "thinking", "metadata", "output_config", "mcp_servers"]


@given(st.dictionaries(st.sampled_from(FIELDS), ANY))
def test_any_request_is_a_task_or_refused(body: dict[str, Any]) -> None:
    try:
        made = new_task(run_steps(task_fields({"max_tokens": 1, **body}), never_yield))
    except Invalid as error:
        assert error.field
    else:
        assert estimate(made.payload) >= 1
