"""Whatever callers are handed is plain JSON in one step."""

import json
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import msgspec
import pytest
from msgspec import Struct, inspect

import ollama_queue
from ollama_queue import Event, Priority, Status, Task, TaskResult, chat_task
from ollama_queue.actors.core.model.tasks import PublicRecord

AT = datetime(2026, 11, 26, 17, 30, 0, 250_000, UTC)
SETTINGS = {"Config"}  # what a queue is made of, told by no verb
PUBLIC = {
    name: value
    for name in ollama_queue.__all__
    if isinstance(value := getattr(ollama_queue, name), type) and issubclass(value, Struct)
}
PLAIN = (dict, list, str, int, float, bool, type(None))


def sample(kind: Any) -> Any:
    """A value of a type, with something in all that may hold something."""
    match kind:
        case inspect.StructType(cls=cls):
            return full(cls)
        case inspect.EnumType(cls=cls):
            return next(iter(cls))
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.UnionType(types=types):
            return next(sample(each) for each in types if not isinstance(each, inspect.NoneType))
        case inspect.ListType(item_type=item):
            return [sample(item)]
        case inspect.DictType(key_type=key, value_type=value):
            return {sample(key): sample(value)}
        case inspect.DateTimeType():
            return AT
        case inspect.AnyType():
            return {"text": "a 😀", "list": [1, 2.5, None, True], "deep": {"er": {}}}
        case _:
            samples = {"StrType": "x", "IntType": 7, "FloatType": 1.5, "BoolType": True}
            return samples[type(kind).__name__]


def full(cls: Any) -> Any:
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    return cls(**{field.name: sample(field.type) for field in info.fields})


def example(name: str) -> Any:
    if name == "Event":  # between the actors it holds another record
        return Event("task_failed", full(Task), AT, 7, "cron", "reason", "backend")
    return full(PUBLIC[name])


def plain(value: Any) -> bool:
    """No subclass of a plain type either, at any depth."""
    if type(value) is dict:
        return all(type(key) is str and plain(each) for key, each in value.items())
    return all(map(plain, value)) if type(value) is list else type(value) in PLAIN


def test_each_record_that_users_meet_is_public() -> None:
    assert {name for name, cls in PUBLIC.items() if not issubclass(cls, PublicRecord)} == SETTINGS


@pytest.mark.parametrize("name", sorted(PUBLIC.keys() - SETTINGS))
def test_a_record_is_plain_json(name: str) -> None:
    record = example(name)
    said = record.to_dict()

    assert list(said) == list(record.__struct_fields__)
    assert plain(said)
    assert json.loads(json.dumps(said)) == said
    assert said == json.loads(msgspec.json.encode(record))  # what the HTTP API says
    if name != "Event":
        assert msgspec.convert(said, PUBLIC[name]) == record


def test_times_enums_and_records_are_what_the_api_shows() -> None:
    said = example("Task").to_dict()

    assert said["created_at"] == "2026-11-26T17:30:00.250000Z"
    assert (said["status"], said["waiting_for"], said["type"]) == ("pending", "slot", "chat")
    assert said["attempts"][0]["started_at"] == "2026-11-26T17:30:00.250000Z"
    assert not any(isinstance(value, Enum) for value in said.values())


def test_what_users_put_into_a_task_becomes_json_as_well() -> None:
    new = chat_task(
        "m",
        [{"role": "user", "content": "hi"}],
        priority=Priority.HIGH,
        metadata={"when": AT, "state": Status.PENDING, "pair": (1, 2), "n": {1: "one"}},
    )
    said = new.to_dict()

    assert (plain(said), said["priority"]) == (True, 10)
    assert said["metadata"] == {
        "when": "2026-11-26T17:30:00.250000Z", "state": "pending", "pair": [1, 2], "n": {"1": "one"}
    }  # fmt: skip


def test_a_dict_is_the_callers_own() -> None:
    task = example("Task")
    task.to_dict()["result"]["list"].append("more")

    assert "more" not in task.result["list"]


def test_a_result_has_the_word_of_a_task_and_that_of_the_original() -> None:
    done = TaskResult("a", True, {"response": "x"})

    assert done.result == done.data == {"response": "x"}
    assert done.to_dict() == {
        "task_id": "a", "success": True, "result": {"response": "x"}, "error": None,
        "model_used": None,
    }  # fmt: skip
