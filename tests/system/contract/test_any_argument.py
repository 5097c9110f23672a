"""Whatever a program gives to a verb: an answer or one error, and no actor ends."""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ollama_queue import (
    AsyncClient,
    Client,
    Invalid,
    QueueError,
    QueueManager,
    Status,
    generate_task,
)
from ollama_queue.actors.api.queue_api import QueueAPI
from tests.support.any_value import ODD_VALUES, Odd, anything
from tests.support.harness.doors import NOBODY, Door, EmbeddedDoor, ask

# What stands at the other arguments while one is tried: quick to do, and nothing that stays.
USUAL: dict[str, Any] = {
    "new": ask(),
    "tasks": [ask()],
    "task_id": NOBODY,
    "batch_id": NOBODY,
    "cron_id": NOBODY,
    "name": "nobody",
    "model": "smollm2",
    "delivery_id": "msg_0",
    "ids": [NOBODY],
    "priority": 5,
    "at": datetime(2026, 1, 1, tzinfo=UTC),
    "callback": lambda _: None,
    "channel": SimpleQueue(),
    "on_progress": None,
    "cancel_on_close": False,
    "changes": {"name": "another"},
    "timeout": 0.05,
}
OTHERS = {"subscribe": {"tasks": None}, "add_cron_task": {"new": {}}}
ARGUMENTS = [
    (verb, name)
    for verb, found in inspect.getmembers(QueueAPI, inspect.isfunction)
    if not verb.startswith("_")
    for name in inspect.signature(found).parameters
    if name != "self"
]


def call(queue: Any, verb: str, name: str, value: Any) -> Any:
    wanted = inspect.signature(getattr(QueueAPI, verb)).parameters
    usual = {**USUAL, **OTHERS.get(verb, {})}
    given_ = {each: usual[each] for each in wanted if each in usual}
    if name == "filter" and "ids" in given_:
        del given_["ids"]
    given_[name] = value
    if verb == "submit_batch_tasks" and name == "timeout":
        given_["tasks"] = []
    found = getattr(queue, verb)(**given_)
    if hasattr(found, "close"):
        found.close()
    return found


@pytest.fixture
def kind(kind: str) -> str:
    """A client on a real connection: what comes of odd paths and headers is not guessed."""
    return "served Client" if kind == "Client" else kind


@pytest.fixture
def still(door: Door) -> Iterator[Callable[[], None]]:
    """Raises when the actors were not the same all the time."""
    begun = door.boot()

    def check() -> None:
        assert door.boot() == begun
        assert door.queue.get_queue_stats().version

    yield check
    check()


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(argument=st.sampled_from(ARGUMENTS), value=anything())
def test_any_value_at_any_argument_is_answered(
    door: Door, still: Callable[[], None], argument: tuple[str, str], value: Any
) -> None:
    verb, name = argument
    with contextlib.suppress(QueueError, TimeoutError):
        call(door.queue, verb, name, value)
    still()


@pytest.mark.parametrize("verb,name", ARGUMENTS)
def test_each_argument_is_named_when_it_is_wrong(
    door: Door, still: Callable[[], None], verb: str, name: str
) -> None:
    with pytest.raises(Invalid) as refused:
        call(door.queue, verb, name, Odd())

    assert refused.value.field is not None
    assert refused.value.field.split("[")[0] in (name, "task", "cron")
    for make in ODD_VALUES:
        with contextlib.suppress(QueueError, TimeoutError):
            call(door.queue, verb, name, make())


def test_a_record_where_its_id_is_wanted_is_taken_for_it(door: Door) -> None:
    queue = door.queue
    submitted = queue.submit(ask())
    task = queue.wait(submitted, timeout=10)
    batch = queue.submit_batch([ask()])

    assert task.status is Status.COMPLETED
    assert queue.get_task(task).id == task.id == submitted.task_id
    assert queue.get_batch(queue.get_batch(batch)).id == batch.batch_id
    assert queue.delete_tasks([task]).done == 1
    assert [c.done for c in queue.stream_task(batch.task_ids[0], timeout=10)][-1]


def test_a_mapping_of_its_fields_is_a_task(door: Door) -> None:
    fields = {"type": "generate", "model": "smollm2", "prompt": "hi"}

    (result,) = door.queue.submit_batch_tasks([fields], timeout=10)

    assert result.success
    assert door.queue.wait(door.queue.submit_task(fields), timeout=10).title == "hi"
    assert door.queue.submit_scheduled_task(fields, USUAL["at"])


@pytest.mark.parametrize("key", ["é" * 100, "a b", "\u4e2d"])
def test_a_key_is_the_same_through_every_door(tmp_path: Path, key: str) -> None:
    door = EmbeddedDoor("AsyncClient", tmp_path)
    assert door._server is not None
    first = door.queue.submit(ask(), idempotency_key=key)

    with Client(door._server.url) as client:
        assert client.submit(ask(), idempotency_key=key).task_id == first.task_id
    assert door.manager.submit(ask(), idempotency_key=key).task_id == first.task_id
    door.close()


@pytest.mark.parametrize("key", [5, "", "a\r\nX: y", " a", "\ud800", "k" * 257, b"a"])
def test_a_wrong_key_is_refused_alike(door: Door, key: Any) -> None:
    with pytest.raises(Invalid) as refused:
        door.queue.submit(generate_task("m", "hi"), idempotency_key=key)

    assert refused.value.field == "idempotency_key"


@settings(deadline=None, max_examples=100)
@given(value=anything())
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_client_is_made_or_refused(kind: type[Any], value: Any) -> None:
    for argument in ("url", "timeout"):
        try:
            kind(**{argument: value})
        except Invalid as error:
            assert error.field == argument


@pytest.mark.parametrize(
    "url", [5, "http://host:abc", "http://", "::1::", "http://[::1", "a b", "ftp://x", ""]
)
def test_what_is_no_address_is_refused(url: Any) -> None:
    with pytest.raises(Invalid) as refused:
        Client(url)

    assert refused.value.field == "url"


def test_an_ipv6_address_needs_no_brackets() -> None:
    assert Client("::1").url == "http://[::1]:7125"


@settings(deadline=None, max_examples=100)
@given(
    name=st.sampled_from(["config", "runtime", "storage_path", "max_workers", "retry_config"]),
    value=anything(),
)
def test_a_manager_is_made_or_refused(name: str, value: Any) -> None:
    try:
        QueueManager(**{name: value})
    except Invalid as error:
        assert error.field


def test_a_folder_in_the_place_of_a_config_is_told_where_it_belongs() -> None:
    folder: Any = "./data"
    with pytest.raises(Invalid, match="config must be a Config; a folder is named as storage_path"):
        QueueManager(folder)


@pytest.mark.parametrize("grace", ["x", -1, float("nan"), [], 10**400])
def test_a_wrong_grace_leaves_the_queue_open(tmp_path: Path, grace: Any) -> None:
    with QueueManager(storage_path=str(tmp_path), ollama_host="127.0.0.1:9") as queue:
        with pytest.raises(Invalid) as refused:
            queue.close(grace)
        assert refused.value.field == "grace_s"
        assert queue.get_queue_stats().total_tasks == 0
