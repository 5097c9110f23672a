"""Each field of a task, in each state, at each door: nothing that is known is lost on the way.

Who adds a field to `Task` adds a row to `ROWS`; who adds a door, a line to `LISTS` or `WHOLE`.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ollama_queue import Task
from ollama_queue.actors.core.model.tasks import WaitingFor
from ollama_queue.http.dropin import openai
from tests.support.every_state import LATER, LATEST, Json, Scene, as_json

STATES = (
    *("completed", "interrupted", "batch", "cron", "failed", "cancelled", "expired"),
    *("running", "slot", "schedule", "retry", "backend"),
)
PENDING = STATES[-4:]
ENDED = STATES[:7]
RAN = ("completed", "interrupted", "batch", "cron")
PARTS = ("payload", "options", "metadata", "dialect", "result")  # not in lists
OF_PLAN = ("waiting_for", "position", "eta_s")  # not in events


class Like:
    """Equal to whatever `is_like` says so of."""

    def __init__(self, words: str, is_like: Callable[[Any], bool]) -> None:
        self._words, self._is_like = words, is_like

    def __eq__(self, other: object) -> bool:
        return self._is_like(other)

    def __repr__(self) -> str:
        return f"<{self._words}>"


def instant(least: datetime, most: datetime) -> Like:
    def is_like(value: Any) -> bool:
        return isinstance(value, str) and least <= datetime.fromisoformat(value) <= most

    return Like(f"an instant from {least} to {most}", is_like)


def seconds(least: float, most: float) -> Like:
    return Like(f"{least} to {most} s", lambda value: value is not None and least <= value <= most)


def past(scene: Scene, _: str) -> Like:
    return instant(scene.began - timedelta(milliseconds=1), datetime.now(UTC))


def soon(_scene: Scene, _state: str) -> Like:
    """The second retry: half an hour to an hour from the first failure."""
    return instant(datetime.now(UTC) + timedelta(seconds=1700), LATER)


def until_later(_scene: Scene, _state: str) -> Like:
    left = (LATER - datetime.now(UTC)).total_seconds()
    return seconds(left - 1, left + 60)


def as_estimated(scene: Scene, state: str) -> float:
    eta_s = scene.waiting(state).eta_s
    assert eta_s is not None
    assert eta_s > 0
    return eta_s


def attempts(*errors: str | None) -> Like:
    """What ended each, None where the model answered."""

    def is_like(value: Any) -> bool:
        said = [each["error"] and each["error"].rpartition(": ")[2] for each in value]
        numbers = [each["attempt"] for each in value]
        return said == [*errors] and numbers == [*range(1, len(errors) + 1)]

    return Like(f"attempts that ended with {errors}", is_like)


def row(usual: Any, _states: tuple[str, ...] = (), _then: Any = None, **others: Any) -> Json:
    """What a field is in each state: `usual`, in these states `_then`, in others as said."""
    return dict.fromkeys(STATES, usual) | dict.fromkeys(_states, _then) | others


ROWS: dict[str, Json] = {
    "id": row(lambda scene, state: scene.ids[state]),
    "type": row("generate"),
    "model": row("smollm2", backend="unheard-of"),
    "priority": row(5, schedule=10),
    "status": row(
        "pending", RAN, "completed", failed="failed", cancelled="cancelled", expired="failed",
        running="running",
    ),
    "title": row(lambda _, state: state),
    "created_at": row(past),
    "queued_at": row(past, ("schedule", "cancelled"), f"{LATER:%Y-%m-%dT%H:%M:%SZ}"),
    "scheduled_at": row(None, ("schedule", "cancelled"), f"{LATER:%Y-%m-%dT%H:%M:%SZ}"),
    "started_at": row(None, (*RAN, "failed", "running", "retry"), past),
    "completed_at": row(None, ENDED, past),
    "next_attempt_at": row(None, retry=soon),
    "error": row(
        None, ("failed", "retry"), Like("an error", lambda value: "another" in value),
        expired="it did not start within 0.001 s (start_within)",
    ),
    "error_code": row(None, expired="expired"),
    "attempt": row(
        0, ("completed", "batch", "cron", "running"), 1, interrupted=2, failed=2, retry=2,
    ),
    "retry_count": row(0, failed=1, retry=2),
    "max_retries": row(3, failed=1, retry=2),
    "interruptions": row(0, interrupted=1),
    "timeout_s": row(None, schedule=30.0),
    "deadline": row(None, slot=f"{LATEST:%Y-%m-%dT%H:%M:%SZ}"),
    "start_within": row(None, schedule=600.0, expired=0.001),
    "remote_execution": row(False, backend=True),
    "backend": row(None, running="ollama"),
    "executed_on": row(None, (*RAN, "failed", "running", "retry"), "ollama"),
    "prompt_tokens": row(0, RAN, 3),
    "tokens": row(0, RAN, 3),
    **dict.fromkeys(("traceparent", "tracestate", "callback_url"), row(None)),
    "batch_id": row(None, batch=lambda scene, _: scene.batch_id),
    "cron_id": row(None, cron=lambda scene, _: scene.cron_id),
    "tenant": row(None, slot="acme"),
    "tags": row(lambda _, state: [state]),
    "fallback_models": row(None, schedule=["tiny", "none"], backend=[]),
    "attempts": row(
        [], ("completed", "batch", "cron"), attempts(None),
        failed=attempts("one thing", "another"), retry=attempts("one thing", "another"),
        interrupted=Like("cut, then well", lambda value: [not a["error"] for a in value] == [0, 1]),
    ),
    "seq": row(Like("a number", lambda value: value > 0)),
    "payload": row(lambda _, state: {"prompt": state}),
    "options": row({"seed": 7}, cron={}),
    "metadata": row(lambda _, state: {"of": state}, cron={"cron_name": "c", "cron_run_count": 1}),
    "dialect": row("ollama"),
    "model_used": row(None, (*RAN, "failed", "running", "retry"), "smollm2"),
    "result": row(None, RAN, Like("a reply", lambda value: value["response"] == "Hello from here")),
    "waiting_for": row(None, **{state: state for state in PENDING}),
    "position": row(None, slot=1, backend=0),
    "eta_s": row(None, slot=as_estimated, schedule=until_later, retry=seconds(1700, 3600)),
}  # fmt: skip

EVERY = {"limit": 100}
# Each says all tasks, or one, as JSON has them.
LISTS: dict[str, Callable[[Scene], list[Json]]] = {
    "GET /api/tasks": lambda scene: scene.http.get("/api/tasks", params=EVERY).json(),
    "/ws snapshot": lambda scene: scene.snapshot("/ws"),
    "/api/events snapshot": lambda scene: scene.snapshot("/api/events"),
    "QueueManager.list_tasks": lambda scene: as_json(scene.manager.list_tasks(EVERY)),
    "Client.list_tasks": lambda scene: as_json(scene.client.list_tasks(EVERY)),
    "AsyncClient.list_tasks": lambda scene: as_json(scene.asynchronous.list_tasks(EVERY)),
    "ollama-queue list": lambda scene: scene.command("list", "--limit", "100"),
}
WHOLE: dict[str, Callable[[Scene, str], Json]] = {
    "GET /api/tasks/{id}": lambda scene, task_id: scene.http.get(f"/api/tasks/{task_id}").json(),
    "QueueManager.get_task": lambda scene, task_id: as_json(scene.manager.get_task(task_id)),
    "Client.get_task": lambda scene, task_id: as_json(scene.client.get_task(task_id)),
    "AsyncClient.get_task": lambda scene, task_id: as_json(scene.asynchronous.get_task(task_id)),
    "ollama-queue status": lambda scene, task_id: scene.command("status", task_id),
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = Scene(tmp_path_factory.mktemp("states"))
    yield made
    made.close()


def check(scene: Scene, found: dict[str, Json], *without: str) -> None:
    """`found` by id; fields that this door does not tell of are null."""
    for state in STATES:
        wanted = {
            name: value(scene, state) if callable(value := values[state]) else value
            for name, values in ROWS.items()
        }
        task = found[scene.ids[state]]
        assert task == wanted | dict.fromkeys(without), state


def by_id(tasks: list[Json]) -> dict[str, Json]:
    return {task["id"]: task for task in tasks}


def test_each_field_has_a_row() -> None:
    assert sorted(ROWS) == sorted(Task.__struct_fields__)


def test_there_is_a_state_for_each_reason_to_wait() -> None:
    assert {*PENDING, "paused"} == {*WaitingFor}


@pytest.mark.parametrize("door", LISTS)
def test_lists(scene: Scene, door: str) -> None:
    check(scene, by_id(LISTS[door](scene)), *PARTS)


@pytest.mark.parametrize("door", WHOLE)
def test_single_tasks(scene: Scene, door: str) -> None:
    check(scene, {task_id: WHOLE[door](scene, task_id) for task_id in scene.ids.values()})


@pytest.mark.parametrize("door", [*LISTS, *WHOLE])
def test_what_the_model_server_itself_said(scene: Scene, door: str) -> None:
    """Lists have the attempts' errors, which say it too, and no more of it."""
    task_id, is_list = scene.ids["failed"], door in LISTS
    task = by_id(LISTS[door](scene))[task_id] if is_list else WHOLE[door](scene, task_id)
    said = [None if is_list else {"message": words} for words in ("one thing", "another")]
    assert [each["status"] for each in task["attempts"]] == [500, 500]
    assert [each["upstream"] for each in task["attempts"]] == said


@pytest.mark.parametrize("feed", ["/ws", "/api/events"])
def test_events(scene: Scene, feed: str) -> None:
    """What a task waits for is the plan's and no fact of the change, so events leave it out."""
    before = by_id(LISTS["QueueManager.list_tasks"](scene))
    interrupted = scene.ids["interrupted"]  # before there was a feed
    check(scene, {interrupted: before[interrupted], **scene.events[feed]}, *PARTS, *OF_PLAN)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_comments_to_clients_that_wait(
    scene: Scene, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai.OpenAIStreamFormat, "silence_s", 0.05)
    body: Json = {"model": "smollm2", "stream": True, "prompt": "hi"}
    if "chat" in path:
        body["messages"] = [{"role": "user", "content": body.pop("prompt")}]
    with scene.http.stream("POST", path, json=body) as answer:
        task_id = answer.headers["X-Queue-Task-Id"]
        lines = answer.iter_lines()
        assert re.fullmatch(r": queued position=\d+ eta=\d+", next(lines))
        scene.manager.cancel_task(task_id)
        assert any(line.startswith("data:") for line in lines)


def test_a_paused_queue_waits_for_nothing_else(scene: Scene) -> None:
    scene.manager.pause()
    try:
        for door, look in LISTS.items():
            found = by_id(look(scene))
            for state in PENDING:
                task = found[scene.ids[state]]
                assert (task["waiting_for"], task["eta_s"]) == ("paused", None), (door, state)
    finally:
        scene.manager.resume()
