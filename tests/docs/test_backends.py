"""The tables of docs/backends.md, row by row against what the translation does."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from ollama_queue.actors.core.config.config import Backend
from ollama_queue.actors.core.intake.submission import PAYLOAD_FIELDS
from ollama_queue.actors.core.model.model_names import RUNNER_OPTIONS
from ollama_queue.actors.core.model.tasks import Spec, TaskType
from ollama_queue.actors.core.openai.translation import (
    LIMIT_OPTION,
    SAME_OPTIONS,
    Untranslatable,
    request_of,
)
from ollama_queue.actors.settings.settings import load
from tests.support.servers.real_models import ROOT

PAGE = (ROOT / "docs/backends.md").read_text()
CHAT = {"messages": [{"role": "user", "content": "hi"}]}
COLUMNS: list[tuple[TaskType, dict[str, Any]]] = [
    (TaskType.CHAT, CHAT),
    (TaskType.GENERATE, {"prompt": ""}),
    (TaskType.GENERATE, {"prompt": "", "raw": True}),
    (TaskType.EMBED, {"input": ""}),
]
SAMPLES: dict[str, Any] = {
    "messages": [{"role": "user", "content": "else"}],
    "prompt": "p",
    "input": "a",
    "dimensions": 8,
    "system": "s",
    "images": ["iVBORw0KGgo"],
    "tools": [{"type": "function"}],
    "tool_choice": "required",
    "format": "json",
    "think": "low",
    "prefer_think": "low",
    "logprobs": True,
    "top_logprobs": 3,
    "raw": True,
    "suffix": "s",
    "template": "t",
    "context": [1],
    "keep_alive": "5m",
    "stream": False,
    "truncate": False,
    "shift": False,
}
CALL = {"function": {"name": "f", "arguments": {}}}
IN_MESSAGES: dict[str, Any] = {
    "role": "system",
    "content": "else",
    "images": ["iVBORw0KGgo"],
    "name": "n",
    "thinking": "hm",
    "tool_calls": [CALL],
    "tool_call_id": "call_0",
    "tool_name": "f",
}


def table(first: str) -> dict[str, list[str]]:
    """The rows of the table whose first heading is `first`, by what their first cell names."""
    (found,) = re.findall(rf"^\| {first} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found.splitlines()]
    return {row[0].strip("`"): row[1:] for row in rows}


def names(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell.partition(",")[0]))


def sent(kind: TaskType, payload: dict[str, Any], **options: Any) -> dict[str, Any] | None:
    """The request's body, or None where the task is refused."""
    try:
        return request_of(kind, "m", Spec(payload, options))[1]
    except Untranslatable:
        return None


def news(before: dict[str, Any] | None, after: dict[str, Any] | None) -> set[str] | None:
    """The names of what is new or another in the second body; None where that is refused."""
    assert before is not None
    return None if after is None else {k for k, v in after.items() if before.get(k) != v}


CELLS = [
    (field, column, cell)
    for field, row in table("field").items()
    for column, cell in enumerate(row)
    if cell != "–"
]


@pytest.mark.parametrize(("field", "column", "cell"), CELLS)
def test_a_field_becomes_what_the_table_says(field: str, column: int, cell: str) -> None:
    kind, base = COLUMNS[column]
    if field == "top_logprobs":
        base = {**base, "logprobs": True}
    found = news(sent(kind, base), sent(kind, {**base, field: SAMPLES[field]}))

    if cell == "only true":
        assert found is None
        assert news(sent(kind, base), sent(kind, {**base, field: True})) == set()
    elif cell == "refused":
        assert found is None
    else:
        assert found == (set() if cell == "left out" else names(cell))


def test_the_table_has_every_field() -> None:
    rows = table("field")
    said = [{field for field, row in rows.items() if row[column] != "–"} for column in range(4)]

    assert said == [PAYLOAD_FIELDS[kind] for kind, _ in COLUMNS]


def test_an_option_becomes_what_the_table_says() -> None:
    rows = table("option")
    before = sent(TaskType.CHAT, CHAT)
    found = {
        option: news(before, sent(TaskType.CHAT, CHAT, **{option: 1})) or {"left out"}
        for option in rows
    }

    assert found == {option: names(row[0]) or {row[0]} for option, row in rows.items()}
    hints = {option for option, names in found.items() if names == {"left out"}}
    assert rows.keys() - hints == {*SAME_OPTIONS, LIMIT_OPTION}
    assert hints == {*RUNNER_OPTIONS, "num_keep", "mirostat"}


def test_a_messages_field_becomes_what_the_table_says() -> None:
    rows = table("in a message")
    assert rows.keys() == IN_MESSAGES.keys()

    for field, (cell,) in rows.items():
        asked: dict[str, Any] = {"role": "user", "content": "hi"}
        if cell.startswith("`tool_call_id`"):
            asked["role"] = "tool"
        before = {**asked}
        calls = {"role": "assistant", "tool_calls": [CALL]}
        body = sent(TaskType.CHAT, {"messages": [calls, {**asked, field: IN_MESSAGES[field]}]})
        assert body is not None
        assert news(before, body["messages"][1]) == names(cell), field


def test_the_examples_are_configurations(tmp_path: Path) -> None:
    first, second = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    backends = msgspec.convert(yaml.safe_load(first)["backends"], list[Backend])
    pins = tmp_path / "config.yaml"
    pins.write_text(second)

    assert [backend.type for backend in backends] == ["ollama", "openai", "openai"]
    assert load(str(pins), {}, {}).kept_models == {
        "gpu1": ["nomic-embed-text", "qwen3"],
        "gpu2": ["qwen3"],
    }
