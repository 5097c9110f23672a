"""Which words answer a task that is wrong."""

import math
from datetime import datetime
from typing import Any

import pytest

from ollama_queue.actors.core.intake.submission import new_task
from ollama_queue.actors.core.model.errors import Invalid
from tests.support.plans import nested

GENERATE: dict[str, Any] = {"type": "generate", "model": "m", "prompt": "p"}
CHAT: dict[str, Any] = {"type": "chat", "model": "m", "messages": [{"role": "user"}]}
EMBED: dict[str, Any] = {"type": "embed", "model": "m", "input": "x"}

PRIORITY = "priority must be low, normal, high, critical or a whole number from 1 to 15"
TIME = "scheduled_at must be a time with a zone, such as 2026-12-25T10:00:00Z"
TYPE = "type must be one of chat, generate, embed"
INPUT = "input must be a string or a list of at least one string"
TIMEOUT = "timeout_s must be seconds above 0, at most 604800 (7 days)"
START = "start_within must be seconds above 0, at most 31536000 (365 days)"
RETRIES = "max_retries must be a whole number from 0 to 100"
FALLBACKS = "fallback_models"
NO_EMBED = (
    "fallback_models must be empty for an embed task: "
    "vectors of different models cannot be compared"
)
NOT_OWN, NOT_TWICE = "a model other than the task's own", "a model that is not named before"
A_NAME = "a model's name of 1 to 256 characters"
MISSING = "{} is missing: {} task needs it"


def wrong(task: dict[str, Any], field: str, words: str, *values: Any) -> list[Any]:
    """The task with each of these values in a field, and what answers it."""
    return [({**task, field: value}, field, words) for value in values]


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        (None, "task", "a task must be a JSON object"),
        ([GENERATE], "task", "a task must be a JSON object"),
        ({}, "type", "type is missing: it must be one of chat, generate, embed"),
        *wrong(GENERATE, "type", TYPE, "x", None, [], {}, 1),
        ({"type": "chat"}, "model", "model is missing: name a model, such as qwen3"),
        *wrong(GENERATE, "model", "model must name a model, such as qwen3", "", " "),
        *wrong(GENERATE, "model", "model: expected `str`, got `int`", 1),
        *wrong(GENERATE, "payload", "payload must be an object", None, [], "x"),
        *wrong(GENERATE, "x", "x is not a field of a generate task", 1),
        *wrong(CHAT, "prompt", "prompt is not a field of a chat task", "p"),
        (
            {**GENERATE, "payload": {"prompt": "q"}},
            "prompt",
            "prompt is set both inside and outside payload",
        ),
        *wrong(GENERATE, "priority", PRIORITY, 0, 16, -1, 5.0, True, None, [], {}),
        *wrong(GENERATE, "priority", PRIORITY, "", "urgent", "16", "-1", "1e1", "٣"),
        *wrong(GENERATE, "scheduled_at", TIME, "2026-12-25T10:00:00", "2026-12-25", "soon", ""),
        *wrong(GENERATE, "deadline", TIME.replace("scheduled_at", "deadline"), "soon", "", 60),
        *wrong(
            {**GENERATE, "scheduled_at": "2026-12-25T10:00:00Z"},
            "deadline",
            "deadline must be later than scheduled_at",
            "2026-12-25T10:00:00Z",
            "2026-12-25T10:30:00+01:00",
        ),
        *wrong(GENERATE, "start_within", START, 0, -1, math.nan, math.inf, 31_536_001),
        *wrong(GENERATE, "scheduled_at", TIME, 1.5, [], datetime(2026, 12, 25), "\ud800"),
        *wrong(GENERATE, "scheduled_at", TIME, "0001-01-01T00:00+10:00", "9999-12-31T23:00-10:00"),
        *wrong(GENERATE, "max_retries", RETRIES, -1, 101, 10**400),
        *wrong(GENERATE, "max_retries", "max_retries: expected `int | null`, got `str`", "3"),
        *wrong(GENERATE, "timeout_s", TIMEOUT, 0, -1.5),
        *wrong(GENERATE, "timeout_s", TIMEOUT, math.inf, math.nan),
        *wrong(GENERATE, "timeout_s", "timeout_s: number out of range", 10**400),
        *wrong(GENERATE, "tenant", "tenant: expected `str | null`, got `int`", 1),
        ({**GENERATE, "tags": ["a", 1]}, "tags[1]", "tags[1]: expected `str`, got `int`"),
        *wrong(CHAT, FALLBACKS, f"{FALLBACKS}: expected `array | null`, got `str`", "a"),
        *wrong(CHAT, FALLBACKS, f"{FALLBACKS} must be at most 8 models, not 9", [*"abcdefghi"]),
        *wrong(EMBED, FALLBACKS, NO_EMBED, ["a"]),
        *(
            ({**CHAT, FALLBACKS: ["a", own]}, f"{FALLBACKS}[1]", f"{FALLBACKS}[1] must be {what}")
            for own, what in [("M:latest", NOT_OWN), ("library/a", NOT_TWICE), (" ", A_NAME)]
        ),
        *wrong(GENERATE, "options", "options: expected `object`, got `array`", []),
        ({"type": "generate", "model": "m"}, "prompt", MISSING.format("prompt", "a generate")),
        ({"type": "chat", "model": "m"}, "messages", MISSING.format("messages", "a chat")),
        ({"type": "embed", "model": "m"}, "input", MISSING.format("input", "an embed")),
        *wrong(GENERATE, "prompt", "prompt must be a string", None, ["p"], 1),
        *wrong(CHAT, "messages", "messages must be a list of at least one message", [], {}, None),
        *wrong(EMBED, "input", INPUT, [], {}, None, ["a", 1], 5),
    ],
)
def test_an_error_names_the_field_and_what_would_be_right(
    given: object, field: str, words: str
) -> None:
    with pytest.raises(Invalid) as caught:
        new_task(given)

    assert (caught.value.field, str(caught.value)) == (field, words)


@pytest.mark.parametrize("message", [None, "x", {}, {"role": 1}, {"content": "x"}])
def test_a_wrong_message_is_named_by_its_number(message: object) -> None:
    with pytest.raises(Invalid) as caught:
        new_task({**CHAT, "messages": [{"role": "user"}, message]})

    assert caught.value.field == "messages[1]"
    assert str(caught.value) == "messages[1] must be an object with a role and a content"


@pytest.mark.parametrize("field", ["payload", "options", "metadata"])
def test_a_key_that_is_no_text_is_of_the_field_that_holds_it(field: str) -> None:
    with pytest.raises(Invalid) as caught:
        new_task({**GENERATE, field: {1: 2}})

    assert caught.value.field == field


def test_a_priority_of_endless_digits_is_wrong_like_any_other() -> None:
    with pytest.raises(Invalid) as caught:
        new_task({**GENERATE, "priority": "1" * 5000})

    assert str(caught.value) == PRIORITY


def test_a_type_that_is_nested_without_end_is_no_type() -> None:
    with pytest.raises(Invalid) as caught:
        new_task({**GENERATE, "type": nested(100_000)})

    assert str(caught.value) == TYPE


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({**GENERATE, "prompt": []}, "prompt must be a string, or a list of strings or tokens"),
        ({**GENERATE, "prompt": 5}, "prompt must be a string, or a list of strings or tokens"),
        ({**CHAT, "messages": []}, "messages must be a list of at least one message"),
        (
            {**GENERATE, "options": {"seed": 1}},
            "options must be empty: in OpenAI's dialect payload has all",
        ),
    ],
)
def test_what_is_wrong_in_openais_dialect(given: dict[str, object], words: str) -> None:
    with pytest.raises(Invalid) as caught:
        new_task({**given, "dialect": "openai"})

    assert str(caught.value) == words


def test_a_dialect_that_nobody_speaks() -> None:
    with pytest.raises(Invalid) as caught:
        new_task({**GENERATE, "dialect": "latin"})

    assert caught.value.field == "dialect"
