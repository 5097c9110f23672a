"""What Codex sends (0.171), and what it reads of the reply."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.chat_pieces import call, piece, usage
from tests.support.fakes.model_server import Stream
from tests.support.harness.executor import sse
from tests.support.harness.openai import OpenAIHarness, open_openai
from tests.support.harness.site import SITES


def function(name: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"cmd": {"type": "string"}}}
    return {"type": "function", "name": name, "strict": False, "parameters": schema}


def said(role: str, *texts: str) -> dict[str, Any]:
    parts = [{"type": "input_text", "text": text} for text in texts]
    return {"type": "message", "id": f"msg_{role}", "role": role, "content": parts}


ASKED: dict[str, Any] = {
    "model": "m",
    "input": [
        said("developer", "You are a coding agent."),
        said("developer", "Skills.", "Permissions."),
        said("user", "say hello"),
    ],
    "tools": [
        function("exec_command"),
        {"type": "namespace", "name": "agents", "description": "", "tools": [function("close")]},
        {"type": "custom", "name": "apply_patch", "format": {"type": "text"}},
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"summary": "auto"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "01a21a6f",
    "client_metadata": {"originator": "codex"},
}


@pytest.fixture(scope="module", params=SITES)
def house(request: pytest.FixtureRequest) -> Iterator[OpenAIHarness]:
    with open_openai(request) as made:
        yield made


def events(house: OpenAIHarness, body: dict[str, Any]) -> list[str]:
    answer = httpx.post(f"{house.base_url}/responses", json=body, timeout=20)
    assert answer.status_code == 200, answer.text
    return [line[7:] for line in answer.text.splitlines() if line.startswith("event: ")]


def test_a_turn_with_a_tool(house: OpenAIHarness) -> None:
    called = call(0, '{"cmd": "ls"}', id="call_1", name="exec_command")
    house.model.script(sse(called, piece("tool_calls"), usage(3, 4)))

    assert "response.function_call_arguments.done" in events(house, ASKED)
    sent = house.model.calls[-1].body
    assert sent["messages"] == [
        {
            "role": "system",
            "content": "You are a coding agent.\n\nSkills.\nPermissions.",
        },
        {"role": "user", "content": "say hello"},
    ]
    names = [tool["function"]["name"] for tool in sent["tools"]]
    assert names == ["exec_command", "agents__close", "apply_patch"]
    assert not sent.keys() & {"prompt_cache_key", "client_metadata", "include", "store"}

    item: dict[str, Any] = {"type": "function_call", "call_id": "call_1", "name": "exec_command"}
    output = {"type": "function_call_output", "call_id": "call_1", "output": "a.txt"}
    more = [*ASKED["input"], {**item, "arguments": '{"cmd": "ls"}'}, output]
    house.model.script(Stream())

    *_, last = events(house, {**ASKED, "input": more})

    assert last == "response.completed"
    roles = [message["role"] for message in house.model.calls[-1].body["messages"]]
    assert roles == ["system", "user", "assistant", "tool"]
    assert house.newest().title == "say hello"
