"""Calls to tools by a model that nobody here wrote: a grammar has it say one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama as official
import openai
import pytest

from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import OllamaServer

MODEL = "smollm2:tools"
# Ollama takes from it how the model would write a call, and looks for that in the reply.
TEMPLATE = """\
{{ .Tools }}{{ range .Messages }}<|im_start|>{{ .Role }}
{{ if .ToolCalls }}{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", \
"parameters": {{ .Function.Arguments }}}{{ end }}{{ else }}{{ .Content }}{{ end }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
CITY = {"type": "object", "properties": {"city": {"enum": ["Paris"]}}, "required": ["city"]}
TOOL: Any = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather.", "parameters": CITY},
}
GRAMMAR: Any = {
    "type": "object",
    "properties": {"name": {"const": "weather"}, "parameters": CITY},
    "required": ["name", "parameters"],
}
ASKED: Any = [{"role": "user", "content": "How is the weather in Paris?"}]
PATIENCE_S = 60.0


@pytest.fixture
def url(ollama: OllamaServer, tmp_path: Path) -> Iterator[str]:
    with official.Client(ollama.url, timeout=PATIENCE_S) as maker:
        maker.create(MODEL, from_=ollama.model, template=TEMPLATE)
    with QueueServer(tmp_path, ollama.url, workers=1) as server:
        yield server.base_url


def test_a_call_comes_through_both_clients(url: str) -> None:
    options = {"temperature": 0.0, "num_predict": 60}
    with official.Client(url, timeout=PATIENCE_S) as client:
        answer = client.chat(
            MODEL, ASKED, tools=[TOOL], format=GRAMMAR, options=options, stream=True
        )
        calls = [call for part in answer for call in part.message.tool_calls or ()]
    assert [(c.function.name, c.function.arguments) for c in calls] == [
        ("weather", {"city": "Paris"})
    ]

    wanted: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": GRAMMAR}}
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=PATIENCE_S) as client:
        completion = client.chat.completions.create(
            model=MODEL,
            messages=ASKED,
            tools=[TOOL],
            response_format=wanted,
            temperature=0,
            max_tokens=60,
        )
    (choice,) = completion.choices
    (call,) = choice.message.tool_calls or ()
    assert choice.finish_reason == "tool_calls"
    assert call.id
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "Paris"}
