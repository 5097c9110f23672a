"""From Ollama's dialect to OpenAI's: whole requests compared, and everything else refused."""

from typing import Any

import pytest

from ollama_queue.actors.core.model.tasks import Spec, TaskType
from ollama_queue.actors.core.openai.translation import request_of

ASK = [{"role": "user", "content": "hi"}]
PNG = "iVBORw0KGgoAAAA"


def chat(payload: dict[str, Any], options: dict[str, Any] | None = None) -> dict[str, Any]:
    path, body = request_of(TaskType.CHAT, "m", Spec({"messages": ASK, **payload}, options or {}))
    assert path == "/chat/completions"
    return body


def messages(*given: dict[str, Any]) -> Any:
    return chat({"messages": list(given)})["messages"]


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def test_a_chat() -> None:
    payload = {
        "system": "be brief",
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "think": "high",
        "format": "json",
        "logprobs": True,
        "top_logprobs": 2,
        "keep_alive": "5m",
        "truncate": True,
        "stream": False,
    }
    options = {
        "temperature": 0.1,
        "top_p": 0.2,
        "seed": 3,
        "stop": ["x"],
        "presence_penalty": 0.4,
        "frequency_penalty": 0.5,
        "num_predict": 6,
        "top_k": 7,
        "min_p": 0.8,
        "typical_p": 0.9,
        "repeat_penalty": 1.1,
        "repeat_last_n": 64,
    }

    assert chat(payload, options) == {
        "model": "m",
        "messages": [{"role": "system", "content": "be brief"}, *ASK],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "reasoning_effort": "high",
        "response_format": {"type": "json_object"},
        "logprobs": True,
        "top_logprobs": 2,
        **{name: value for name, value in options.items() if name != "num_predict"},
        "max_tokens": 6,
    }


def test_a_generate_is_a_chat_of_one_message() -> None:
    schema = {"type": "object"}
    spec = Spec({"prompt": "p", "system": "s", "images": [PNG], "format": schema, "raw": False})

    assert request_of(TaskType.GENERATE, "m", spec) == (
        "/chat/completions",
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "s"},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "p"},
                        image(f"data:image/png;base64,{PNG}"),
                    ],
                },
            ],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "reply", "schema": schema},
            },
        },
    )


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        ({"prompt": "p", "raw": True}, {"prompt": "p"}),
        ({"prompt": "p", "suffix": "s"}, {"prompt": "p", "suffix": "s"}),
        ({"prompt": "", "raw": True, "suffix": "s"}, {"prompt": "", "suffix": "s"}),
        ({"prompt": "p", "raw": True, "logprobs": True}, {"prompt": "p", "logprobs": 1}),
        (
            {"prompt": "p", "raw": True, "logprobs": True, "top_logprobs": 3},
            {"prompt": "p", "logprobs": 3},
        ),
    ],
)
def test_a_raw_prompt_is_a_completion(payload: dict[str, Any], body: dict[str, Any]) -> None:
    assert request_of(TaskType.GENERATE, "m", Spec(payload, {"seed": 1})) == (
        "/completions",
        {"model": "m", **body, "seed": 1},
    )


def test_an_embed() -> None:
    spec = Spec({"input": ["a", "b"], "dimensions": 8, "truncate": True, "keep_alive": 0})

    assert request_of(TaskType.EMBED, "m", spec) == (
        "/embeddings",
        {"model": "m", "input": ["a", "b"], "dimensions": 8},
    )


@pytest.mark.parametrize(
    "payload",
    [
        {"think": False},
        {"think": None, "format": "", "tools": [], "system": "", "options": {}},
        {"logprobs": False, "top_logprobs": 0},
        {"options": {"num_predict": -1, "seed": None}},
        {"options": {"num_predict": 0}},
        {"options": {"stop": []}, "shift": True, "truncate": True},
    ],
)
def test_what_asks_for_nothing_is_left_out(payload: dict[str, Any]) -> None:
    assert chat(payload) == {"model": "m", "messages": ASK}


@pytest.mark.parametrize(
    ("think", "effort"),
    [(True, "medium"), ("low", "low"), ("medium", "medium"), ("high", "high")],
)
def test_to_think_is_an_effort(think: Any, effort: str) -> None:
    assert chat({"think": think})["reasoning_effort"] == effort


def test_the_tasks_options_beat_the_payloads() -> None:
    body = chat({"options": {"seed": 1, "top_k": 2}}, {"seed": 3})

    assert (body["seed"], body["top_k"]) == (3, 2)


def test_images_say_what_they_are() -> None:
    starts = {
        "iVBORw0KGgo": "png",
        "/9j/4A": "jpeg",
        "R0lGOD": "gif",
        "UklGR": "webp",
        "AAAA": "png",
    }

    assert messages({"role": "user", "content": "", "images": [*starts, "data:x"]}) == [
        {
            "role": "user",
            "content": [
                *(image(f"data:image/{kind};base64,{start}") for start, kind in starts.items()),
                image("data:x"),
            ],
        }
    ]


def test_tool_calls_and_their_results_are_tied_by_id() -> None:
    def call(name: str, **more: Any) -> dict[str, Any]:
        return {"function": {"name": name, "arguments": {"n": 1}}, **more}

    def result(**more: Any) -> dict[str, Any]:
        return {"role": "tool", "content": "42", **more}

    def sent(call_id: str, name: str) -> dict[str, Any]:
        function = {"name": name, "arguments": '{"n":1}'}
        return {"id": call_id, "type": "function", "function": function}

    said = {"role": "assistant", "thinking": "hm", "tool_calls": [call("f"), call("g"), call("f")]}
    again = {"role": "assistant", "content": "", "tool_calls": [call("g", id="mine")]}

    assert messages(
        said,
        result(tool_name="g"),
        result(tool_name="f"),
        result(),
        again,
        result(tool_call_id="mine"),
        result(tool_call_id="unknown"),
    ) == [
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "hm",
            "tool_calls": [sent("call_0", "f"), sent("call_1", "g"), sent("call_2", "f")],
        },
        result(tool_call_id="call_1"),
        result(tool_call_id="call_0"),
        result(tool_call_id="call_2"),
        {"role": "assistant", "content": "", "tool_calls": [sent("mine", "g")]},
        result(tool_call_id="mine"),
        result(tool_call_id="unknown"),
    ]


def test_the_task_itself_is_not_changed() -> None:
    payload = {"messages": [{"role": "user", "content": "a", "images": [PNG]}], "system": "s"}
    spec = Spec(payload, {"seed": 1})

    assert request_of(TaskType.CHAT, "m", spec) == request_of(TaskType.CHAT, "m", spec)
