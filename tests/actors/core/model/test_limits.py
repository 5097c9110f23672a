"""What users write is bounded: at the bound it is taken, beyond it named."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from ollama_queue import Invalid, TaskFilter
from ollama_queue.actors.core.intake.arguments import watched
from ollama_queue.actors.core.intake.bulk import check_ids
from ollama_queue.actors.core.intake.cron_schedule import upcoming
from ollama_queue.actors.core.intake.crons import changed, new_cron, scheduled
from ollama_queue.actors.core.intake.filters import task_filter
from ollama_queue.actors.core.intake.submission import draft, new_task
from ollama_queue.actors.core.model import limits
from ollama_queue.actors.core.model.crons import Cron
from ollama_queue.actors.core.model.limits import METADATA, NAME, TAG, TAGS, TIMEOUT_S
from ollama_queue.actors.core.routing.routes import read_route, route_key

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TASK = {"type": "generate", "model": "m", "prompt": "p"}
CRON = {"name": "n", "cron_expr": "0 9 * * *", "task_template": TASK}
MANY = "1," * 127 + "1"  # a field of a cron expression, of 255 characters


def task(**fields: Any) -> None:
    draft(new_task({**TASK, **fields}))


def cron(**fields: Any) -> None:
    new_cron({**CRON, **fields})


def template(**fields: Any) -> None:
    cron(task_template={**TASK, **fields})


def tried(**fields: Any) -> None:
    upcoming(**{"expr": "* * * * *", "timezone": "UTC", "instant": NOW, **fields})


def listed(**fields: Any) -> None:
    task_filter(fields)


def keyed(key: str) -> None:
    draft(new_task(TASK), key)


Case = tuple[Callable[..., None], dict[str, Any], dict[str, Any], str]
CASES: list[Case] = [
    (task, {"model": "m" * NAME}, {"model": "m" * (NAME + 1)}, "model"),
    (task, {"tenant": "t" * NAME}, {"tenant": "t" * (NAME + 1)}, "tenant"),
    (task, {"backend": "b" * NAME}, {"backend": "b" * (NAME + 1)}, "backend"),
    (task, {"tags": ["t" * TAG] * TAGS}, {"tags": ["t"] * (TAGS + 1)}, "tags"),
    (task, {"tags": ["t" * TAG]}, {"tags": ["t", "t" * (TAG + 1)]}, "tags[1]"),
    (
        task,
        {"metadata": {"a": "x" * (METADATA - 8)}},
        {"metadata": {"a": "x" * (METADATA - 7)}},
        "metadata",
    ),
    (task, {"timeout_s": TIMEOUT_S}, {"timeout_s": TIMEOUT_S + 1}, "timeout_s"),
    (
        task,
        {"options": {"num_ctx": "x" * 254, "stop": "x" * 9999}},
        {"options": {"num_ctx": "x" * 255}},
        "options.num_ctx",
    ),
    (
        task,
        {"payload": {"options": {"num_gpu": [1] * 99}}},
        {"payload": {"options": {"num_gpu": [1] * 200}}},
        "options.num_gpu",
    ),
    (keyed, {"key": "k" * NAME}, {"key": "k" * (NAME + 1)}, "idempotency_key"),
    (cron, {"name": "n" * NAME}, {"name": "n" * (NAME + 1)}, "name"),
    (cron, {"cron_expr": MANY[:-8] + " * * * *"}, {"cron_expr": "*" * (1 << 20)}, "cron_expr"),
    (cron, {"timezone": "UTC"}, {"timezone": "U" * (1 << 20)}, "timezone"),
    (
        cron,
        {"metadata": {"a": "x" * (METADATA - 8)}},
        {"metadata": {"a": "x" * (METADATA - 7)}},
        "metadata",
    ),
    (template, {"model": "m" * NAME}, {"model": "m" * (NAME + 1)}, "task_template.model"),
    (template, {"tags": ["t" * TAG]}, {"tags": ["t" * (TAG + 1)]}, "task_template.tags[0]"),
    (template, {"timeout_s": 1}, {"timeout_s": TIMEOUT_S * 2}, "task_template.timeout_s"),
    (tried, {"expr": MANY[:-8] + " * * * *"}, {"expr": MANY + " * * * *"}, "cron_expr"),
    (tried, {"timezone": "Europe/Berlin"}, {"timezone": "x" * (NAME + 1)}, "timezone"),
    (listed, {"q": "q" * 256}, {"q": "q" * 257}, "q"),
    (listed, {"model": "m" * 256}, {"model": ["m" * 257]}, "model"),
    (listed, {"tag": ["t"] * 100}, {"tag": ["t"] * 101}, "tag"),
    (listed, {"status": ["failed"] * 100}, {"status": ["failed"] * 101}, "status"),
    (listed, {}, {"cursor": "c" * 257}, "cursor"),
    (check_ids, {"ids": ["i" * NAME] * 1000}, {"ids": ["i", "i" * (NAME + 1)]}, "ids[1]"),
    (watched, {"value": ["i" * NAME] * 1000}, {"value": ["i"] * 1001}, "tasks"),
]


@pytest.mark.parametrize(("check", "within", "beyond", "field"), CASES)
def test_each_field_has_its_bound(
    check: Callable[..., None], within: dict[str, Any], beyond: dict[str, Any], field: str
) -> None:
    check(**within)

    with pytest.raises(Invalid) as refused:
        check(**beyond)

    assert refused.value.field == field
    assert refused.value.message.startswith((field, "the idempotency key"))
    assert len(refused.value.message) < 200


def test_what_an_error_quotes_is_cut() -> None:
    with pytest.raises(Invalid) as refused:
        new_task({**TASK, "x" * (1 << 20): 1})

    assert len(refused.value.message) <= 4000
    assert len(refused.value.field or "") <= 256


def stored(**fields: Any) -> Cron:
    made = new_cron(CRON)
    facts = {name: getattr(made, name) for name in made.__struct_fields__} | fields
    return scheduled(Cron(id="c", created_at=NOW, updated_at=NOW, **facts), NOW)


def test_a_cron_of_larger_days_is_switched_and_given_another_name() -> None:
    """Only what is changed is held to the limits of today."""
    tags = ["t" * 1000]
    large = stored(metadata={"a": "x" * (1 << 20)}, name="n" * 1000)
    large = changed(large, {"task_template": {"priority": 1}}, NOW)
    template = type(large.task_template)(
        type="generate", model="m", payload={"prompt": "p"}, tags=tags
    )
    large = stored(task_template=template, metadata=large.metadata)

    assert changed(large, {"enabled": False}, NOW).next_run is None
    assert changed(large, {"name": "other"}, NOW).task_template.tags == tags
    with pytest.raises(Invalid, match="metadata must take at most 65536 bytes"):
        changed(large, {"metadata": {"a": "y" * (1 << 20)}}, NOW)


@pytest.mark.parametrize(
    "name", ["m {", "m {x", 'm {"@backend":"gpu1"}', " {", "m{", 'm {"@model":"x"}']
)
def test_a_models_name_is_never_read_as_rules(name: str) -> None:
    for rules in ({}, {"backend": "b"}, {"ollama_only": True}):
        route = read_route(route_key(name, {"num_ctx": 1} if rules else {}, **rules))

        assert route.model == name.strip()
        assert route.backend == rules.get("backend")


def test_a_filter_made_by_hand_is_checked_too() -> None:
    with pytest.raises(Invalid, match="q must have at most 256 characters, it has 300"):
        task_filter(TaskFilter(q="q" * 300))


def test_the_docs_tell_the_limits() -> None:
    from tests.support.servers.real_models import ROOT

    told = (ROOT / "docs" / "limits.md").read_text()
    for number in (NAME, TAG, TAGS, limits.VALUES, limits.IDS, limits.ERROR, limits.ATTEMPTS):
        assert f"{number:,}" in told
