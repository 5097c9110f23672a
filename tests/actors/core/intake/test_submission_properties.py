"""Whatever is submitted is either a task or `Invalid`; never any other error."""

from datetime import UTC, datetime
from typing import Any

import hypothesis.strategies as st
import msgspec
from hypothesis import HealthCheck, given, settings

from ollama_queue.actors.core.intake.submission import PAYLOAD_FIELDS, draft, new_task
from ollama_queue.actors.core.model.errors import Invalid
from ollama_queue.actors.core.model.tasks import NewTask, Spec
from ollama_queue.actors.core.plan.acceptance import accept
from tests.support.plans import NOW

texts = st.text(st.characters(exclude_categories=()), max_size=5)  # lone surrogates, too
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-20, 20),
    st.integers(),
    st.floats(),
    texts,
    st.sampled_from(["1" * 5000, 10**400, "high", "2026-12-25T10:00:00Z", "\ud800"]),
    st.sampled_from([datetime(2026, 1, 1, tzinfo=UTC), datetime.min, b"x", object()]),
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
messages = st.lists(
    st.fixed_dictionaries({"role": st.just("user")}, optional={"content": values}), max_size=3
)
models = st.just("m") | values
types = st.sampled_from(["chat", "generate", "embed"])
asked = {"prompt": texts | values, "input": st.just(["a"]) | values, "messages": messages | values}
names = sorted({*NewTask.__struct_fields__, *frozenset().union(*PAYLOAD_FIELDS.values())})
likely = {
    "priority": st.sampled_from([1, "high"]) | values,
    "payload": st.fixed_dictionaries({}, optional=asked) | st.dictionaries(texts, values),
    "scheduled_at": st.datetimes(timezones=st.none() | st.just(UTC)).map(str) | values,
}
fields = {name: likely.get(name, values) for name in names} | asked
wanted = {name: fields.pop(name) for name in ("prompt", "input", "messages")}


@st.composite
def tasks(draw: st.DrawFn) -> dict[str, Any]:
    """Something like a task, flat or full, with up to three fields of any kind."""
    kind = draw(types)
    need = {"chat": "messages", "generate": "prompt", "embed": "input"}[kind]
    body = {need: draw(wanted[need])}
    task = {"type": kind, "model": draw(models)}
    task |= {"payload": body} if draw(st.booleans()) else body
    for name in draw(st.lists(st.sampled_from(sorted(fields)), max_size=3)):
        task[name] = draw(fields[name])
    return task


relaxed = settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])


def accepted(task: NewTask) -> None:
    """A task that a door let through can be accepted, stored and read again."""
    try:
        submit = draft(task, "key")
    except Invalid as error:
        assert error.field
        return
    record = accept("a", submit, 3, NOW)
    msgspec.msgpack.encode(record)
    spec = msgspec.json.decode(submit.spec, type=Spec)
    assert spec.payload.keys() == submit.new.payload.keys()
    assert draft(submit.new, "key") == submit


@given(values | st.dictionaries(st.sampled_from([*names, "x"]), values, max_size=5))
@relaxed
def test_any_value_is_a_task_or_invalid(given: object) -> None:
    try:
        accepted(new_task(given))
    except Invalid as error:
        assert error.field
        assert error.message


@given(tasks())
@relaxed
def test_anything_like_a_task_is_one_or_invalid(given: dict[str, Any]) -> None:
    try:
        accepted(new_task(given))
    except Invalid as error:
        assert error.field
        assert error.message


@given(tasks(), st.dictionaries(st.sampled_from(NewTask.__struct_fields__), values, max_size=3))
@relaxed
def test_a_task_made_by_hand_is_one_or_invalid(given: dict[str, Any], more: dict[str, Any]) -> None:
    known = {name: value for name, value in given.items() if name in NewTask.__struct_fields__}

    accepted(NewTask(**{**known, **more}))
