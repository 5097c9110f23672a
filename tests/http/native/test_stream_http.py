"""A task's reply and the queue's events as server-sent events."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ollama_queue.actors.base.actor import tell
from ollama_queue.http import sse
from tests.support.fakes.model_server import Answer, Stream
from tests.support.harness.app import AppHarness, error

NOBODY = "01a20000-0000-7000-8000-000000000000"
DEAD_QUEUE_ORDER: Any = "no message at all"


class Frames:
    """The frames of an answer, one after another; comments are `None`."""

    def __init__(self, house: AppHarness, path: str, **headers: str) -> None:
        request = house.http.build_request("GET", path, headers=headers)
        self.response = house.http.send(request, stream=True)
        assert self.response.status_code == 200, self.response.read()
        assert self.response.headers["Content-Type"] == "text/event-stream"
        assert self.response.headers["Cache-Control"] == "no-cache"
        self._frames = self._read()
        assert next(self) is None  # the head comes at once

    def __iter__(self) -> Iterator[sse.Frame | None]:
        return self._frames

    def __next__(self) -> sse.Frame | None:
        return next(self._frames)

    def _read(self) -> Iterator[sse.Frame | None]:
        parser = sse.Parser()
        for data in self.response.iter_raw():
            for frame in parser.feed(data):
                yield frame if frame.data else None

    def next(self) -> tuple[str, Any]:
        frame = next(frame for frame in self._frames if frame is not None)
        return frame.event, json.loads(frame.data)

    def close(self) -> None:
        self.response.close()


def stream(house: AppHarness, task_id: str, **headers: str) -> Frames:
    return Frames(house, f"/api/tasks/{task_id}/stream", **headers)


def said(frames: Frames) -> list[tuple[str, str | None, Any]]:
    """Event, id and what matters of each."""
    found = []
    for frame in frames:
        if frame is not None:
            data = json.loads(frame.data)
            found.append((frame.event, frame.id, data.get("response", data)))
    return found


# --- a task's reply -----------------------------------------------------------------------------


def test_a_reply_comes_piece_by_piece_and_ends(house: AppHarness) -> None:
    task_id = house.done()
    end = {"task_id": task_id, "status": "completed", "error": None}

    assert said(stream(house, task_id)) == [
        ("chunk", "1.0", "Hello"),
        ("chunk", "1.1", " from"),
        ("chunk", "1.2", " here"),
        ("chunk", "1.3", ""),
        ("end", None, end),
    ]
    behind = stream(house, task_id, **{"Last-Event-ID": "1.1"})
    assert [frame[1] for frame in said(behind)] == ["1.2", "1.3", None]


def test_a_reader_may_come_before_the_task_runs(house: AppHarness) -> None:
    house.queue.pause()
    task_id = house.submit().json()["task_id"]
    reader = stream(house, task_id)
    house.queue.resume()

    assert [event for event, _, _ in said(reader)] == ["chunk"] * 4 + ["end"]


def test_a_lost_attempt_is_taken_back(house: AppHarness) -> None:
    gate = threading.Event()
    house.fake.script(Stream(words=["x", "y"], gate=gate, then="cut"), Stream(words=["a"]))
    task_id = house.submit().json()["task_id"]
    reader = stream(house, task_id)
    first = reader.next()
    gate.set()
    rest = said(reader)

    assert (first[0], first[1]["response"]) == ("chunk", "x")
    lost = rest.index(("restart", None, {"task_id": task_id}))
    assert [frame[2] for frame in rest[lost + 1 : -1]] == ["a", ""]
    assert rest[-1][0] == "end"


def test_a_failed_and_a_cancelled_task_end(house: AppHarness) -> None:
    house.fake.script(Answer(400, {"error": "no such thing"}))
    failed = house.done()
    (end,) = said(stream(house, failed))
    assert (end[0], end[2]["status"]) == ("end", "failed")
    assert "no such thing" in end[2]["error"]

    running = house.running()
    reader = stream(house, running)
    house.queue.cancel_task(running)
    assert reader.next() == (
        "end",
        {"task_id": running, "status": "cancelled", "error": "cancelled"},
    )


def test_silence_is_filled_with_comments(
    house: AppHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT_S", 0.01)
    reader = stream(house, house.running())

    assert [next(reader), next(reader)] == [None, None]
    reader.close()


def test_a_reader_that_leaves_is_forgotten(house: AppHarness) -> None:
    left = threading.Event()
    follow = house.queue.follow_task

    def watched(*args: Any, **options: Any) -> Any:
        found = follow(*args, **options)
        close = found.close
        found.close = lambda: (close(), left.set())  # type: ignore[assignment]
        return found

    house.queue.follow_task = watched  # type: ignore[method-assign]
    stream(house, house.running()).close()

    assert left.wait(5)


@pytest.mark.parametrize("place", ["1", "x.y", "1.2.3"])
def test_a_malformed_place_is_400(house: AppHarness, place: str) -> None:
    path = f"/api/tasks/{house.done()}/stream"
    answer = house.http.get(path, headers={"Last-Event-ID": place})

    assert error(answer) == (400, "invalid", "Last-Event-ID")


def test_an_unknown_task_is_404_before_any_stream(house: AppHarness) -> None:
    assert error(house.http.get(f"/api/tasks/{NOBODY}/stream")) == (404, "not_found", "id")


def test_an_unknown_parameter_is_400(house: AppHarness) -> None:
    answer = house.http.get(f"/api/tasks/{house.done()}/stream?from=1")
    assert error(answer) == (400, "invalid", "from")


# --- events -------------------------------------------------------------------------------------


def test_events_begin_with_how_things_stand(house: AppHarness) -> None:
    done = house.done()
    reader = Frames(house, "/api/events")
    kind, snapshot = reader.next()

    assert (kind, set(snapshot)) == ("snapshot", {"seq", "stats", "tasks"})
    assert [task["id"] for task in snapshot["tasks"]] == [done]
    assert snapshot["stats"]["completed_tasks"] == 1
    reader.close()


def test_then_each_event_comes_once_with_its_task(house: AppHarness) -> None:
    reader = Frames(house, "/api/events")
    _, snapshot = reader.next()
    task_id = house.done()
    house.queue.pause()
    heard = [reader.next()[1] for _ in range(4)]

    assert [event["event"] for event in heard] == [
        "task_submitted",
        "task_started",
        "task_completed",
        "queue_paused",
    ]
    assert [event["task"] and event["task"]["id"] for event in heard] == [task_id] * 3 + [None]
    assert all(event["seq"] > snapshot["seq"] for event in heard)
    assert heard == sorted(heard, key=lambda event: event["seq"])
    listed = house.http.get("/api/tasks").json()[0]
    assert heard[2]["task"].keys() == listed.keys()
    assert not {"route", "size", "key", "lacking"} & heard[0]["task"].keys()
    reader.close()


def test_events_are_narrowed_down(house: AppHarness) -> None:
    ends = Frames(house, "/api/events?events=task_completed&events=task_failed")
    ends.next()
    first = house.done()
    one = Frames(house, f"/api/events?tasks={NOBODY}&events=queue_paused")
    one.next()
    second = house.done()

    heard = [ends.next()[1] for _ in range(2)]
    assert [(event["event"], event["task"]["id"]) for event in heard] == [
        ("task_completed", first),
        ("task_completed", second),
    ]
    for reader in (ends, one):
        reader.close()


def test_a_reboot_begins_anew_with_a_snapshot(house: AppHarness) -> None:
    reader = Frames(house, "/api/events")
    reader.next()
    tell(house.queue._switchboard.current().bus, DEAD_QUEUE_ORDER)

    assert reader.next()[0] == "snapshot"
    task_id = house.done()
    assert reader.next()[1]["task"]["id"] == task_id
    reader.close()


def test_events_end_with_the_queue(house: AppHarness) -> None:
    reader = Frames(house, "/api/events")
    house.queue.close(grace_s=0)

    assert [frame for frame in reader if frame is not None and frame.event == "event"] == []


def test_an_unknown_event_is_400(house: AppHarness) -> None:
    assert error(house.http.get("/api/events?events=task_eaten")) == (400, "invalid", "events")


def test_a_websocket_is_not_for_everyone(house: AppHarness) -> None:
    answer = house.http.get("/ws")
    assert (answer.status_code, answer.headers["Upgrade"]) == (426, "websocket")
    assert answer.json()["error"]["code"] == "upgrade_required"

    for origin in ("null", "https://evil.example"):
        foreign = {"Origin": origin, "Upgrade": "websocket"}
        assert error(house.http.get("/ws", headers=foreign)) == (403, "forbidden", "Origin")


def test_frames_are_read_however_they_are_cut() -> None:
    text = b":\n\n" + sse.frame("chunk", {"a": "\u2028b\n"}, "1.0") + sse.frame("end", None)
    for size in (1, 2, 7, 1000):
        parser = sse.Parser()
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        frames = [frame for piece in pieces for frame in parser.feed(piece)]
        assert frames == [
            sse.Frame(),
            sse.Frame("chunk", '{"a":"\u2028b\\n"}'.encode(), "1.0"),
            sse.Frame("end", b"null"),
        ]
