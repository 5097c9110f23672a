"""The routes of many tasks: what they take, and that they are no ids."""

from typing import Any

import pytest

from tests.support.harness.app import AppHarness, error

NOBODY = "0199c2a4-7d3e-7b11-8f00-5a2e9d1c4b60"


def test_many_are_changed_in_one_request(house: AppHarness) -> None:
    task_id = house.running()
    moved = house.http.post("/api/tasks/priority", json={"ids": [task_id], "priority": "high"})
    ended = house.http.post("/api/tasks/cancel", json={"filter": {"model": "smollm2"}})
    gone = house.http.post("/api/tasks/delete", json={"filter": {}})

    nothing_wrong = {"errors": [], "left": 0, "cursor": None}
    for answer in (moved, ended, gone):
        assert (answer.status_code, answer.json()) == (200, {"done": 1, **nothing_wrong})
    assert house.http.get("/api/tasks").json() == []


def test_errors_of_single_tasks_are_no_error_of_the_request(house: AppHarness) -> None:
    answer = house.http.post("/api/tasks/retry", json={"ids": [NOBODY]})

    assert answer.status_code == 200
    assert answer.json()["errors"] == [
        {"id": NOBODY, "code": "not_found", "message": f"there is no task {NOBODY}"}
    ]


def test_they_are_no_ids_of_tasks(house: AppHarness) -> None:
    for verb in ("cancel", "retry", "delete", "priority"):
        assert error(house.http.get(f"/api/tasks/{verb}")) == (404, "not_found", "id")
        assert error(house.http.delete(f"/api/tasks/{verb}")) == (404, "not_found", "id")
        unknown = house.http.post(f"/api/tasks/{verb}/cancel")
        assert error(unknown) == (404, "not_found", "id")


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("cancel", [], "ids"),
        ("cancel", {}, "ids"),
        ("cancel", {"ids": None}, "ids"),
        ("cancel", {"filter": None}, "ids"),
        ("cancel", {"ids": ["a"], "filter": {}}, "ids"),
        ("cancel", {"ids": ["a"], "priority": 5}, "ids"),
        ("cancel", {"ids": "a"}, "ids"),
        ("cancel", {"ids": {"a": 1}}, "ids"),
        ("cancel", {"filter": []}, "filter"),
        ("cancel", {"filter": {"status": "failed"}}, "status"),
        ("priority", {"ids": ["a"]}, "ids"),
        ("priority", {"ids": ["a"], "priority": None}, "priority"),
        ("priority", {"filter": {}, "priority": 0}, "priority"),
    ],
)
def test_a_wrong_body_is_400(house: AppHarness, verb: str, body: Any, field: str) -> None:
    answer = house.http.post(f"/api/tasks/{verb}", json=body)

    assert error(answer) == (400, "invalid", field)
