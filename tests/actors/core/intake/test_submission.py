"""From what a user wrote to a checked task, and to what the scheduler is handed."""

import math
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from ollama_queue.actors.core.intake.submission import (
    chat_task,
    draft,
    embed_task,
    generate_task,
    new_task,
    title_of,
)
from ollama_queue.actors.core.model.errors import Invalid
from ollama_queue.actors.core.model.tasks import Dialect, NewTask, Spec, TaskType
from ollama_queue.actors.core.plan.acceptance import accept
from tests.support.plans import NOW, nested

GENERATE: dict[str, Any] = {"type": "generate", "model": "m", "prompt": "p"}
CHAT: dict[str, Any] = {"type": "chat", "model": "m", "messages": [{"role": "user"}]}
EMBED: dict[str, Any] = {"type": "embed", "model": "m", "input": "x"}
NOON = datetime(2026, 12, 25, 12, tzinfo=UTC)


class TestForms:
    def test_the_flat_and_the_full_form_are_one(self) -> None:
        ours = {"priority": "high", "tags": ["t"], "options": {"seed": 1}, "metadata": {"a": 1}}
        flat = {**GENERATE, "stream": True, "system": "s", **ours}
        payload = {"prompt": "p", "stream": True, "system": "s"}
        full = {"type": "generate", "model": "m", "payload": payload, **ours}

        task = new_task(flat)

        assert task == new_task(full)
        assert task == NewTask(
            type=TaskType.GENERATE,
            model="m",
            payload=payload,
            options={"seed": 1},
            priority=10,
            tags=["t"],
            metadata={"a": 1},
        )

    def test_in_the_payload_anything_passes_through(self) -> None:
        payload = {"prompt": "p", "of_tomorrow": {"x": None}}

        assert new_task({"type": "generate", "model": "m", "payload": payload}).payload == payload

    def test_what_was_given_is_left_alone(self) -> None:
        payload = {"stream": True}
        new_task({**GENERATE, "payload": payload})

        assert payload == {"stream": True}

    def test_the_makers_make_the_same(self) -> None:
        message = {"role": "user", "content": "hi"}

        assert chat_task("m", (message,), think=True) == new_task(
            {**CHAT, "messages": [message], "think": True}
        )
        assert generate_task("m", "p", priority=3) == new_task({**GENERATE, "priority": 3})
        assert embed_task("m", ("a", "b")) == new_task({**EMBED, "input": ["a", "b"]})
        assert embed_task("m", "x") == new_task(EMBED)

    @pytest.mark.parametrize(
        ("given", "level"),
        [("low", 1), ("normal", 5), (" High ", 10), ("CRITICAL", 15), ("7", 7), (1, 1), (15, 15)],
    )
    def test_a_priority_is_a_name_or_a_number(self, given: object, level: int) -> None:
        assert new_task({**GENERATE, "priority": given}).priority == level

    @pytest.mark.parametrize(
        "given",
        [
            "2026-12-25T12:00:00Z",
            "2026-12-25T13:00:00+01:00",
            "2026-12-25 07:00:00.000-05:00",
            NOON,
        ],
    )
    def test_a_time_is_kept_as_utc(self, given: object) -> None:
        task = new_task({**GENERATE, "scheduled_at": given})

        assert task.scheduled_at == NOON
        assert task.scheduled_at.tzinfo is UTC

    def test_none_is_what_was_not_given(self) -> None:
        unset = dict.fromkeys(["scheduled_at", "max_retries", "timeout_s", "tenant"])

        assert new_task({**GENERATE, **unset}) == new_task(GENERATE)


class TestDraft:
    def test_it_encodes_what_is_asked_of_the_model(self) -> None:
        task = generate_task("m", "ä", options={"seed": 10**30}, metadata={"a": [None, 1.5]})
        submit = draft(task)

        assert (submit.new, submit.key, submit.body) == (task, None, b"")
        assert (
            submit.spec
            == (
                '{"payload":{"prompt":"ä"},"options":{"seed":1000000000000000000000000000000},'
                '"metadata":{"a":[null,1.5]}}'
            ).encode()
        )

    @pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf])
    def test_a_number_that_json_lacks_is_named(self, strange: float) -> None:
        for fields, name in (
            ({"options": {"x": strange}}, "options.x"),
            ({"format": {"a": [None, {"b": [0.5, strange]}]}}, "payload.format.a[1].b[1]"),
            ({"metadata": {"t": (1, strange)}}, "metadata.t[1]"),
        ):
            with pytest.raises(Invalid, match="must be a finite number: JSON has no") as refused:
                draft(generate_task("m", "p", **fields))
            assert refused.value.field == name

    @pytest.mark.parametrize("place", ["payload", "options", "metadata"])
    def test_nesting_has_a_limit(self, place: str) -> None:
        def task(levels: int) -> NewTask:
            return new_task({**GENERATE, place: {"x": nested(levels - 2)}})

        assert draft(task(100))
        for levels in (101, 500, 100_000):
            with pytest.raises(Invalid, match="must not be nested more than 100 levels deep"):
                draft(task(levels))

    @pytest.mark.parametrize(
        "value",
        ["\ud800", {"\udfff": 1}, object(), 10**5000, {(1, 2): 3}],
        ids=["surrogate", "surrogate key", "object", "huge", "tuple key"],
    )
    @pytest.mark.parametrize("place", ["payload", "options", "metadata"])
    def test_what_json_cannot_say_is_invalid(self, place: str, value: object) -> None:
        task = new_task({**GENERATE, place: {"x": value}})

        with pytest.raises(Invalid, match="the task cannot be written as JSON"):
            draft(task)

    @pytest.mark.parametrize("field", ["model", "tenant", "tags"])
    def test_a_lone_surrogate_is_invalid_wherever_it_is(self, field: str) -> None:
        value = ["\ud800"] if field == "tags" else "\ud800"

        with pytest.raises(Invalid, match="cannot be written"):
            draft(new_task({**GENERATE, field: value}))

    def test_an_endless_circle_is_invalid(self) -> None:
        circle: dict[str, Any] = {}
        circle["x"] = circle

        with pytest.raises(Invalid, match="nested more than 100 levels"):
            draft(generate_task("m", "p", metadata=circle))

    def test_a_task_made_by_hand_is_checked_and_set_right(self) -> None:
        by_hand = NewTask(type="generate", model="m", payload={"prompt": "p"}, priority="high")  # type: ignore[arg-type]

        assert draft(by_hand).new == generate_task("m", "p", priority=10)

    @pytest.mark.parametrize("key", ["", "k" * 257])
    def test_a_key_has_1_to_256_characters(self, key: str) -> None:
        with pytest.raises(Invalid) as caught:
            draft(generate_task("m", "p"), key)

        assert caught.value.field == "idempotency_key"
        assert str(caught.value) == "the idempotency key must have 1 to 256 characters"

    def test_a_key_that_cannot_be_written_is_named(self) -> None:
        with pytest.raises(Invalid) as caught:
            draft(generate_task("m", "p"), "\ud800")

        assert caught.value.field == "idempotency_key"


class TestTitle:
    @pytest.mark.parametrize(
        ("task", "title"),
        [
            (generate_task("m", " Why\n is\tthe  sky blue? "), "Why is the sky blue?"),
            (generate_task("m", "x" * 500), "x" * 120),
            (generate_task("m", ""), ""),
            (embed_task("m", "one"), "one"),
            (embed_task("m", ["one", "two"]), "one"),
            (
                chat_task(
                    "m",
                    [
                        {"role": "user", "content": "first"},
                        {"role": "user", "content": "last"},
                        {"role": "assistant", "content": "reply"},
                    ],
                ),
                "last",
            ),
            (chat_task("m", [{"role": "system", "content": "be kind"}]), "be kind"),
            (chat_task("m", [{"role": "user"}]), ""),
        ],
    )
    def test_it_is_the_beginning_of_what_was_asked(self, task: NewTask, title: str) -> None:
        assert title_of(task) == title

    @pytest.mark.parametrize(
        ("prompt", "title"),
        [
            ("<system-reminder>\nbe kind\n</system-reminder>\n\nHello", "Hello"),
            ("<a>x</a> <b-c>y\n</b-c>\n Compare\nthem", "Compare them"),
            ("<a>x</a>", "<a>x</a>"),
            ("<a>x</a>\n", "<a>x</a>"),
            ("<a>x", "<a>x"),
            ("<br> what is this?", "<br> what is this?"),
            ("< 5 or > 5?", "< 5 or > 5?"),
            ("<a></a>" * 100_000, "<a></a>" * 17),
        ],
    )
    def test_it_is_not_what_programs_put_before_it(self, prompt: str, title: str) -> None:
        assert title_of(generate_task("m", prompt))[: len(title)] == title

    def test_a_content_that_is_no_text_cannot_hurt(self) -> None:
        """It passed at a door; the scheduler, whose stack may be deeper, must not fail on it."""
        content = [nested(100_000)]
        task = chat_task("m", [{"role": "user", "content": content}])

        assert len(title_of(task)) <= 120


def test_an_accepted_task_has_all_that_was_asked() -> None:
    task = generate_task(
        "m:latest", "p", tags=["t"], tenant="acme", timeout_s=2, scheduled_at=NOON, max_retries=0
    )
    submit = draft(task, "k")

    record = accept("a", submit, 3, NOW)

    assert (record.model, record.route, record.title) == ("m:latest", "m", "p")
    assert (record.tags, record.tenant, record.timeout_s) == (["t"], "acme", 2.0)
    assert (record.queued_at, record.scheduled_at, record.max_retries) == (NOON, NOON, 0)
    assert (record.key, record.size) == (submit.key, len(submit.spec))
    assert submit.spec == b'{"payload":{"prompt":"p"}}'
    assert Spec({"prompt": "p"}) == Spec(submit.new.payload)


class TestDialect:
    def test_openais_takes_what_ollama_has_no_words_for(self) -> None:
        payload = {"prompt": [1, 2], "logit_bias": {"5": 1}}
        task = new_task({**GENERATE, "prompt": [1, 2], "dialect": "openai"})
        submit = draft(
            new_task({"type": "generate", "model": "m", "dialect": "openai", "payload": payload})
        )

        assert title_of(task) == ""
        assert submit.ollama_only is None
        assert msgspec.json.decode(submit.spec) == {"payload": payload, "dialect": "openai"}

    def test_what_lay_on_disk_before_there_were_dialects_is_ollamas(self) -> None:
        old = b'{"payload":{"prompt":"p"},"options":{},"metadata":{}}'

        assert msgspec.json.decode(old, type=Spec) == Spec({"prompt": "p"})
        assert Spec().dialect is Dialect.OLLAMA
