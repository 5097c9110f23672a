"""What only Ollama can serve: found by name, and in agreement with the translation itself."""

import tracemalloc
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from ollama_queue.actors.core.intake.submission import PAYLOAD_FIELDS
from ollama_queue.actors.core.model.model_names import RUNNER_OPTIONS
from ollama_queue.actors.core.model.tasks import NewTask, Spec, TaskType
from ollama_queue.actors.core.openai.translation import (
    Untranslatable,
    hints,
    request_of,
    untranslatable,
)

ASK = [{"role": "user", "content": "hi"}]
PNG = "iVBORw0KGgoAAAA"


@pytest.mark.parametrize(
    ("kind", "payload", "options", "field"),
    [
        ("chat", {}, {"num_predict": 1.5}, "options.num_predict"),
        ("chat", {}, {"num_predict": True}, "options.num_predict"),
        ("chat", {"options": 5}, {}, "options"),
        ("chat", {"think": 1}, {}, "think"),
        ("chat", {"think": "max"}, {}, "think"),
        ("chat", {"think": [1]}, {}, "think"),
        ("chat", {"format": "xml"}, {}, "format"),
        ("chat", {"shift": False}, {}, "shift"),
        ("chat", {"truncate": False}, {}, "truncate"),
        ("chat", {"tomorrow": 1}, {}, "tomorrow"),
        ("chat", {"prompt": "p"}, {}, "prompt"),
        ("generate", {"messages": ASK}, {}, "messages"),
        ("embed", {"system": "s"}, {}, "system"),
        ("chat", {"messages": [{"role": "user", "x": 1}]}, {}, "messages[0].x"),
        ("chat", {"messages": [{"role": "user", "tool_name": "f"}]}, {}, "messages[0].tool_name"),
        ("chat", {"messages": [{"role": "tool"}]}, {}, "messages[0]"),
        ("chat", {"messages": [{"role": "", "images": 5}]}, {}, "messages[0].images"),
        ("chat", {"messages": [{"role": "a", "tool_calls": 5}]}, {}, "messages[0].tool_calls"),
        ("chat", {"messages": [{"role": "a", "tool_calls": [5]}]}, {}, "messages[0].tool_calls[0]"),
        ("chat", {"messages": [{"role": "a", "images": [PNG, ""]}]}, {}, "messages[0].images[1]"),
        ("generate", {"images": ["https://x.example/a.png"]}, {}, "images[0]"),
        ("generate", {"images": ["file:///etc/passwd"]}, {}, "images[0]"),
        ("generate", {"template": "t"}, {}, "template"),
        ("generate", {"context": [1]}, {}, "context"),
        ("generate", {"raw": True, "system": "s"}, {}, "system"),
        ("generate", {"raw": True, "format": "json"}, {}, "format"),
        ("generate", {"raw": True, "logprobs": True, "top_logprobs": "x"}, {}, "top_logprobs"),
        ("generate", {"suffix": "s", "images": [PNG]}, {}, "images"),
        ("embed", {"truncate": False}, {}, "truncate"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(
    kind: str, payload: dict[str, Any], options: dict[str, Any], field: str
) -> None:
    asks: dict[str, dict[str, Any]] = {
        "chat": {"messages": ASK},
        "generate": {"prompt": "p"},
        "embed": {"input": "a"},
    }

    new = NewTask(
        type=TaskType(kind), model="m", payload={**asks[kind], **payload}, options=options
    )
    error = untranslatable(new)

    assert error is not None
    assert error.field == field
    assert str(error).startswith(f"{field} cannot be sent to an OpenAI-compatible server")
    assert raised(new) == str(error)


@pytest.mark.parametrize(
    ("kind", "payload", "options", "names"),
    [
        ("chat", {}, {"temperature": 1, "num_predict": 5}, []),
        ("chat", {"keep_alive": "5m"}, {"num_ctx": 8, "seed": 1}, ["num_ctx", "keep_alive"]),
        ("chat", {"options": {"mirostat": 1}}, {}, ["mirostat"]),
        ("chat", {"options": {"num_ctx": 8}}, {"num_ctx": None, "tomorrow": 1}, ["tomorrow"]),
        ("generate", {"prompt": "p", "raw": True}, {"num_gpu": 1}, ["num_gpu"]),
        ("embed", {"input": "a"}, {"temperature": 0}, ["temperature"]),
    ],
)
def test_a_hint_is_left_out_and_can_be_named(
    kind: str, payload: dict[str, Any], options: dict[str, Any], names: list[str]
) -> None:
    asks: dict[str, Any] = {"chat": {"messages": ASK}, "generate": {}, "embed": {}}
    new = NewTask(
        type=TaskType(kind), model="m", payload={**asks[kind], **payload}, options=options
    )

    assert hints(new) == names
    assert untranslatable(new) is None
    _, body = request_of(new.type, "m", Spec(new.payload, new.options))
    assert not body.keys() & {*names}


def raised(new: NewTask) -> str | None:
    """The words of what `request_of` raises."""
    try:
        request_of(new.type, new.model, Spec(new.payload, new.options))
    except Untranslatable as error:
        return str(error)
    return None


CALL = {"function": {"name": "f", "arguments": {"a": 1}}, "id": "c"}
odd = st.sampled_from([None, "", [], {}, 0, 1, True, False, "json", "low", ["x"], {"a": 1}])
message_fields = {
    "content": odd,
    "images": odd | st.just([PNG]),
    "thinking": odd,
    "name": odd,
    "tool_calls": odd | st.lists(st.sampled_from([5, CALL, {"function": {"name": "g"}}])),
    "tool_name": st.sampled_from(["", "f", "g"]),
    "tool_call_id": st.sampled_from([None, "c", "other"]),
    "tomorrow": odd,
}
said = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool"])}, optional=message_fields
)
asked = {
    TaskType.CHAT: st.fixed_dictionaries({"messages": st.lists(said, min_size=1, max_size=4)}),
    TaskType.GENERATE: st.fixed_dictionaries({"prompt": st.sampled_from(["", "p"])}),
    TaskType.EMBED: st.fixed_dictionaries({"input": st.sampled_from(["", "a", ["a"]])}),
}
options = st.dictionaries(
    st.sampled_from(["temperature", "num_predict", "stop", "tomorrow", *RUNNER_OPTIONS]),
    odd,
    max_size=2,
)


@st.composite
def tasks(draw: st.DrawFn) -> NewTask:
    kind = draw(st.sampled_from(TaskType))
    own = draw(asked[kind])
    names = [*sorted(PAYLOAD_FIELDS[kind] - own.keys()), "options"]
    more = draw(st.dictionaries(st.sampled_from(names), odd | options, max_size=3))
    return NewTask(type=kind, model="m", payload={**own, **more}, options=draw(options))


@given(tasks())
@example(NewTask(type=TaskType.GENERATE, model="m", payload={"prompt": "", "raw": True}))
def test_what_is_found_untranslatable_is_what_cannot_be_translated(new: NewTask) -> None:
    error = untranslatable(new)

    assert raised(new) == (None if error is None else str(error))


def test_looking_for_it_makes_no_copy_of_what_is_large() -> None:
    """Compared by what is allocated, which is the same on every machine."""
    image = PNG + "A" * 4_000_000
    call = {"function": {"name": "f", "arguments": {"text": image}}}
    talk = [
        {"role": "user", "content": image, "images": [image]},
        {"role": "a", "tool_calls": [call]},
    ]
    new = NewTask(type=TaskType.CHAT, model="m", payload={"messages": talk})

    tracemalloc.start()
    try:
        assert untranslatable(new) is None
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
