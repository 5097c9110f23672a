"""`GET /api/tasks`: its parameters, and what its headers say."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.harness.app import AppHarness, error


@pytest.fixture
def house(tmp_path: Path) -> Iterator[AppHarness]:
    made = AppHarness(tmp_path)
    made.queue.pause()
    yield made
    made.close()


def made(house: AppHarness, count: int) -> list[str]:
    """So many tasks, the newest first: one waits, since there is room for no more."""
    ids = [house.submit().json()["task_id"]]
    for _ in range(count - 1):
        house.queue.cancel_task(ids[-1])
        ids.append(house.submit().json()["task_id"])
    return ids[::-1]


def test_a_page_links_to_the_next(house: AppHarness) -> None:
    ids = made(house, 5)

    first = house.http.get("/api/tasks?limit=2&status=cancelled&status=pending&offset=1")
    assert [task["id"] for task in first.json()] == ids[1:3]
    assert first.headers["X-Total-Count"] == "5"
    link = first.headers["Link"]
    assert link.startswith("<?status=cancelled&status=pending&limit=2&cursor=created.")
    assert link.endswith('>; rel="next"')

    second = house.http.get(first.url.join(first.links["next"]["url"]))
    assert [task["id"] for task in second.json()] == ids[3:]
    assert "Link" not in second.headers


def test_a_link_carries_what_urls_must_escape(house: AppHarness) -> None:
    ids = []
    for number in range(2):
        task = {"type": "generate", "model": "m", "prompt": "p", "tags": ["a&b=ü"]}
        ids.append(house.submit(task).json()["task_id"])
        if not number:
            house.queue.cancel_task(ids[0])

    first = house.http.get(f"/api/tasks?limit=1&tag={quote('a&b=ü')}")
    second = house.http.get(first.url.join(first.links["next"]["url"]))

    assert [task["id"] for task in first.json() + second.json()] == ids[::-1]
    assert "X-Total-Count" not in first.headers


def test_times_are_taken_with_a_plus_that_is_escaped(house: AppHarness) -> None:
    made(house, 1)
    since = quote("2020-01-01T00:00:00+01:00")
    assert len(house.http.get(f"/api/tasks?since={since}").json()) == 1
    assert house.http.get(f"/api/tasks?until={since}").json() == []


def test_payload_and_result_are_left_out_unless_included(house: AppHarness) -> None:
    house.queue.resume()
    house.done()

    (light,) = house.http.get("/api/tasks").json()
    (whole,) = house.http.get("/api/tasks?include=payload,result").json()

    assert (light["payload"], light["result"]) == (None, None)
    assert whole["payload"] == {"prompt": "hi"}
    assert whole["result"]["done"] is True


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=done", "status"),
        ("type=talk", "type"),
        ("priority=99", "priority"),
        ("priority=urgent", "priority"),
        ("since=yesterday", "since"),
        ("until=2026-01-01", "until"),
        ("sort=size", "sort"),
        ("cursor=abc", "cursor"),
        ("cursor=created.0.ab&sort=ended", "cursor"),
        ("cursor=created.0.ab&offset=3", "offset"),
        ("include=payload,everything", "include"),
        ("include=", "include"),
        ("colour=red", "colour"),
        ("q=%ff", "q"),
    ],
)
def test_a_bad_parameter_is_named(house: AppHarness, query: str, field: str) -> None:
    answer = house.http.get(f"/api/tasks?{query}")

    assert error(answer) == (400, "invalid", field)
    assert answer.json()["error"]["message"].count("\n") == 0
