"""Addresses as clients put them together, with slashes too many; and how a wrong one is told."""

import pytest

from tests.support.harness.app import TASK, AppHarness


@pytest.mark.parametrize(
    "path",
    [
        "//api/tags",
        "/api/tags/",
        "/api//tags",
        "///api/tags//",
        "/v1/models/",
        "//v1//models",
        "//",
    ],
)
def test_slashes_too_many_are_passed_over(house: AppHarness, path: str) -> None:
    assert house.http.get(f"http://127.0.0.1:7125{path}").status_code == 200


def test_a_body_goes_with_them(house: AppHarness) -> None:
    submitted = house.http.post("http://127.0.0.1:7125//api/tasks/", json=TASK)
    assert submitted.status_code == 201
    house.queue.wait(submitted.json()["task_id"], timeout=10)  # only one may wait in this house
    asked = {"model": "smollm2", "prompt": "hi", "stream": False}
    assert house.http.post("/api/generate/", json=asked).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/nowhere/", 404, {"code": "not_found", "message": "there is no /nowhere/"}),
        (
            "GET",
            "/api/tasks/x/y",
            404,
            {"code": "not_found", "message": "there is no /api/tasks/x/y"},
        ),
        ("POST", "/api/chat/x", 404, "there is no /api/chat/x"),
        ("GET", "/api/chat/", 405, "/api/chat/ does not take GET"),
    ],
)
def test_a_wrong_one_is_told_as_it_was_asked(
    house: AppHarness, method: str, path: str, status: int, error: object
) -> None:
    answer = house.http.request(method, path)
    assert (answer.status_code, answer.json()) == (status, {"error": error})


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nowhere", "/v1/chat/completions/x"])
def test_openais_clients_read_their_form(house: AppHarness, path: str) -> None:
    answer = house.http.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == f"there is no {path}"
    assert answer.json()["error"]["type"]


@pytest.mark.parametrize("path", ["/api/tasks//cancel", "/api/tasks//delete", "/api/cron//run"])
def test_an_empty_id_is_no_other_address(house: AppHarness, path: str) -> None:
    """`/api/tasks/cancel` is for many tasks."""
    task_id = house.running()
    assert house.http.post(path, json={"status": ["running"]}).status_code == 404
    assert house.queue.get_task_status(task_id) == "running"


@pytest.mark.parametrize("path", ["/api/tasks/", "/api/batches/", "/api/cron/"])
def test_one_without_an_id_is_not_all(house: AppHarness, path: str) -> None:
    assert house.http.get(path).status_code == 404
    assert house.http.delete(path).status_code == 404
