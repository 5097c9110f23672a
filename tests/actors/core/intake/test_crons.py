"""What a cron may look like, and how it changes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from ollama_queue import Cron, Invalid, Missed, NewCron, Overlap, TaskTemplate, TaskType
from ollama_queue.actors.core.intake.crons import changed, new_cron, scheduled, task_of
from ollama_queue.actors.core.intake.submission import draft

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PLAIN: dict[str, Any] = {
    "name": "Daily Report",
    "cron_expr": "0 9 * * 1-5",
    "task_template": {"type": "generate", "model": "qwen3", "payload": {"prompt": "Report"}},
}


def a_cron(**fields: Any) -> Cron:
    new = new_cron({**PLAIN, **fields})
    facts = {name: getattr(new, name) for name in NewCron.__struct_fields__}
    return scheduled(Cron(id="a", created_at=NOW, updated_at=NOW, **facts), NOW)


def test_what_is_left_out_has_defaults() -> None:
    assert new_cron(PLAIN) == NewCron(
        name="Daily Report",
        cron_expr="0 9 * * 1-5",
        task_template=TaskTemplate(
            type=TaskType.GENERATE, model="qwen3", payload={"prompt": "Report"}, priority=5
        ),
        enabled=True,
        timezone="UTC",
        overlap=Overlap.ALLOW,
        missed=Missed.SKIP,
        metadata={},
    )


def test_a_template_may_be_flat_and_name_its_priority() -> None:
    made = new_cron(
        {
            **PLAIN,
            "task_template": {
                "type": "chat",
                "model": "m",
                "messages": [{"role": "user", "content": "hi"}],
                "system": "Be brief.",
                "priority": "high",
                "timeout_s": 5,
                "tags": ["a"],
            },
        }
    ).task_template
    assert made.payload == {
        "messages": [{"role": "user", "content": "hi"}],
        "system": "Be brief.",
    }
    assert (made.priority, made.timeout_s, made.tags) == (10, 5.0, ["a"])


def test_a_record_is_checked_and_taken_as_well() -> None:
    made = new_cron(PLAIN)
    assert new_cron(made) == made


def with_template(**fields: Any) -> dict[str, Any]:
    return {**PLAIN, "task_template": {**PLAIN["task_template"], **fields}}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in PLAIN.items() if key != name}


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ([], "cron", "cron must be a JSON object"),
        (without("name"), "name", "name is missing"),
        (without("cron_expr"), "cron_expr", "cron_expr is missing"),
        (without("task_template"), "task_template", "task_template is missing"),
        ({**PLAIN, "name": " "}, "name", "name must be a string of 1 to 256"),
        ({**PLAIN, "name": "x" * 257}, "name", "name must have at most 256 characters"),
        ({**PLAIN, "name": 5}, "name", "name must be a string"),
        ({**PLAIN, "cron_expr": "99 * * * *"}, "cron_expr", "cron_expr: minute '99'"),
        ({**PLAIN, "timezone": "Nowhere"}, "timezone", "timezone: 'Nowhere' is not a time zone"),
        ({**PLAIN, "overlap": "maybe"}, "overlap", "overlap must be one of allow, skip"),
        ({**PLAIN, "missed": 1}, "missed", "missed must be one of skip, once"),
        ({**PLAIN, "enabled": "yes"}, "enabled", "enabled: expected `bool`, got `str`"),
        ({**PLAIN, "metadata": []}, "metadata", "metadata: expected `object`, got `array`"),
        ({**PLAIN, "schedule": "x"}, "schedule", "schedule is not a field of a cron"),
        ({**PLAIN, "name": "\udcff"}, "cron", "cannot be written as JSON"),
        ({**PLAIN, "task_template": 5}, "task_template", "task_template must be an object"),
        (with_template(model=""), "task_template.model", "task_template.model must name a model"),
        (with_template(model=5), "task_template.model", "task_template.model: expected `str`"),
        (with_template(type="x"), "task_template.type", "task_template.type must be one of"),
        (with_template(priority=99), "task_template.priority", "task_template.priority must be"),
        (with_template(payload={}), "task_template.prompt", "task_template.prompt is missing"),
        (with_template(pormpt=1), "task_template.pormpt", "task_template.pormpt is not a field"),
        (
            with_template(scheduled_at="2026-12-25T10:00:00Z"),
            "task_template.scheduled_at",
            "task_template.scheduled_at is not a field of a cron's task",
        ),
        (
            with_template(deadline="2026-12-25T10:00:00Z"),
            "task_template.deadline",
            "task_template.deadline would be the same instant for all runs: use start_within",
        ),
        (
            with_template(start_within=0),
            "task_template.start_within",
            "task_template.start_within must be seconds above 0, at most 31536000 (365 days)",
        ),
        (with_template(metadata={}), "task_template.metadata", "is not a field of a cron's task"),
    ],
)
def test_mistakes_are_named(given: Any, field: str, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        new_cron(given)
    assert refused.value.field == field
    assert words in refused.value.message


# --- changes --------------------------------------------------------------------------------------


def test_a_change_leaves_the_rest_alone() -> None:
    old, later = a_cron(metadata={"a": 1}), NOW + timedelta(hours=1)

    new = changed(old, {"name": "Other", "overlap": "skip"}, later)

    assert (new.name, new.overlap, new.updated_at) == ("Other", Overlap.SKIP, later)
    assert (new.next_run, new.metadata, new.id) == (old.next_run, {"a": 1}, "a")


def test_a_template_changes_field_by_field() -> None:
    old = a_cron(task_template={**PLAIN["task_template"], "options": {"seed": 1}})

    new = changed(old, {"task_template": {"priority": "low", "prompt": "Other", "raw": True}}, NOW)

    assert new.task_template.priority == 1
    assert new.task_template.payload == {"prompt": "Other", "raw": True}
    assert (new.task_template.model, new.task_template.options) == ("qwen3", {"seed": 1})
    whole = changed(new, {"task_template": {"payload": {"prompt": "Third"}}}, NOW)
    assert whole.task_template.payload == {"prompt": "Third"}


def test_a_template_of_another_type_is_another_template() -> None:
    embed = {"type": "embed", "model": "m", "input": "x"}
    assert changed(a_cron(), {"task_template": embed}, NOW).task_template.payload == {"input": "x"}
    with pytest.raises(Invalid, match=r"task_template\.model is missing"):
        changed(a_cron(), {"task_template": {"type": "embed", "input": "x"}}, NOW)


def test_the_whole_cron_may_be_given_back() -> None:
    old = a_cron()
    assert changed(old, old, NOW) == old


@pytest.mark.parametrize(
    "fields",
    [
        {"cron_expr": "x"},
        {"name": ""},
        {"color": "red"},
        {"task_template": {"messages": []}},
        {"task_template": []},
        [],
    ],
)
def test_a_wrong_change_is_refused(fields: Any) -> None:
    with pytest.raises(Invalid):
        changed(a_cron(), fields, NOW)


def test_another_schedule_counts_from_now_and_a_disabled_cron_not_at_all() -> None:
    old = a_cron()
    assert old.next_run == datetime(2026, 1, 2, 9, tzinfo=UTC)

    later = NOW + timedelta(hours=12)
    assert changed(old, {"cron_expr": "0 * * * *"}, later).next_run == datetime(
        2026, 1, 2, 16, tzinfo=UTC
    )
    assert changed(old, {"timezone": "Asia/Tokyo"}, NOW).next_run == datetime(
        2026, 1, 5, 0, tzinfo=UTC
    )
    off = changed(old, {"enabled": False}, NOW)
    assert off.next_run is None
    assert changed(off, {"enabled": True}, NOW) == old


def test_its_task_says_whose_it_is() -> None:
    task = task_of(a_cron(task_template={**PLAIN["task_template"], "tags": ["a"], "priority": 7}))

    assert task.metadata == {"cron_name": "Daily Report", "cron_run_count": 1}
    assert (task.model, task.payload, task.priority, task.tags) == (
        "qwen3",
        {"prompt": "Report"},
        7,
        ["a"],
    )
    assert draft(task).new == task


def test_a_clock_that_was_wrong_for_once_does_not_stop_a_cron_for_years() -> None:
    wrong = datetime(2099, 1, 1, tzinfo=UTC)
    assert scheduled(replace(a_cron(), last_run=wrong), NOW) == replace(a_cron(), last_run=wrong)
    soon = replace(a_cron(), last_run=datetime(2026, 1, 2, 9, tzinfo=UTC))
    assert scheduled(soon, soon.last_run or NOW).next_run == datetime(2026, 1, 5, 9, tzinfo=UTC)
