"""The routes of crons, as any HTTP client sees them."""

from datetime import datetime
from typing import Any

import pytest

from tests.support.harness.app import MAX_BODY, AppHarness, error

CRON: dict[str, Any] = {
    "name": "Daily Report",
    "cron_expr": "0 0 1 1 *",
    "task_template": {"type": "generate", "model": "smollm2", "prompt": "hi"},
}
FIELDS = [
    "id",
    "name",
    "cron_expr",
    "timezone",
    "enabled",
    "overlap",
    "missed",
    "task_template",
    "next_run",
    "last_run",
    "run_count",
    "created_at",
    "updated_at",
    "metadata",
    "tenant",
]


def added(house: AppHarness, **fields: Any) -> str:
    response = house.http.post("/api/cron", json={**CRON, **fields})
    assert response.status_code == 201
    assert list(response.json()) == ["id"]
    return str(response.json()["id"])


def test_adding_showing_and_listing(house: AppHarness) -> None:
    cron_id = added(house)

    cron = house.http.get(f"/api/cron/{cron_id}").json()

    assert list(cron) == FIELDS
    assert cron["task_template"]["payload"] == {"prompt": "hi"}
    assert cron["next_run"].endswith("-01-01T00:00:00Z")
    assert (cron["last_run"], cron["run_count"], cron["overlap"]) == (None, 0, "allow")
    assert house.http.get("/api/cron").json() == [cron]


def test_adding_by_name_says_whether_it_was_there(house: AppHarness) -> None:
    for what, status in (("keep", 201), ("keep", 200), ("update", 200), ("error", 409)):
        body = {**CRON, "cron_expr": "@monthly"} if what == "update" else CRON
        response = house.http.post("/api/cron", params={"if_exists": what}, json=body)
        assert response.status_code == status
        if status < 300:
            assert list(response.json()) == ["id"]
    (cron,) = house.http.get("/api/cron").json()
    assert (cron["id"] in response.text, cron["cron_expr"]) == (True, "@monthly")


@pytest.mark.parametrize(
    "query", ["if_exists=", "if_exists=Keep", "if-exists=keep", "if_exists=%ff"]
)
def test_a_wrong_query_adds_nothing(house: AppHarness, query: str) -> None:
    response = house.http.post(f"/api/cron?{query}", json=CRON)

    assert response.status_code == 400
    assert "if_exists" in response.json()["error"]["message"]
    assert house.http.get("/api/cron").json() == []


def test_the_whole_form_may_be_put_back(house: AppHarness) -> None:
    cron_id = added(house)
    cron = house.http.get(f"/api/cron/{cron_id}").json()

    put = house.http.put(f"/api/cron/{cron_id}", json={**cron, "name": "Other"})

    assert put.status_code == 200
    assert put.json() == {**cron, "name": "Other", "updated_at": put.json()["updated_at"]}


def test_fields_may_be_put_alone(house: AppHarness) -> None:
    cron_id = added(house)
    body = {"cron_expr": "@monthly", "task_template": {"priority": "critical"}}

    cron = house.http.put(f"/api/cron/{cron_id}", json=body).json()

    assert (cron["cron_expr"], cron["name"]) == ("@monthly", "Daily Report")
    assert (cron["task_template"]["priority"], cron["task_template"]["model"]) == (15, "smollm2")


def test_disabling_enabling_running_and_removing(house: AppHarness) -> None:
    cron_id = added(house)
    one = f"/api/cron/{cron_id}"

    assert house.http.put(f"{one}/disable").json()["next_run"] is None
    assert house.http.put(f"{one}/enable").json()["enabled"] is True
    run = house.http.post(f"{one}/run")
    assert run.status_code == 201
    assert set(run.json()) == {"task_id", "status", "position"}
    assert house.http.get(f"/api/tasks/{run.json()['task_id']}").json()["cron_id"] == cron_id
    assert house.http.delete(one).json()["run_count"] == 1
    assert error(house.http.get(one)) == (404, "not_found", "id")


def test_trying_an_expression_out(house: AppHarness) -> None:
    body = {"cron_expr": "30 9 * * *", "timezone": "Asia/Kolkata", "count": 3}

    times = house.http.post("/api/cron/test", json=body).json()["next"]

    assert len(times) == 3
    assert all(time.endswith("T04:00:00Z") for time in times)
    days = [datetime.fromisoformat(time).toordinal() for time in times]
    assert days == [days[0], days[0] + 1, days[0] + 2]
    assert len(house.http.post("/api/cron/test", json={"cron_expr": "@hourly"}).json()["next"]) == 5
    assert house.http.get("/api/cron").json() == []


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/api/cron", {**CRON, "cron_expr": "0 9 * *"}, "cron_expr"),
        ("/api/cron", {**CRON, "task_template": {"type": "generate"}}, "task_template.model"),
        ("/api/cron", {**CRON, "ids": "x"}, "ids"),
        ("/api/cron", [], "cron"),
        ("/api/cron/test", {"cron_expr": "x"}, "cron_expr"),
        ("/api/cron/test", {"cron_expr": "@daily", "timezone": "x"}, "timezone"),
        ("/api/cron/test", {"cron_expr": "@daily", "count": 1000}, "count"),
        ("/api/cron/test", {"cron_expr": "@daily", "zone": "x"}, "cron_expr"),
        ("/api/cron/test", [], "cron_expr"),
    ],
)
def test_mistakes_are_named(house: AppHarness, path: str, body: Any, field: str) -> None:
    assert error(house.http.post(path, json=body)) == (400, "invalid", field)


def test_a_run_that_may_not_overlap_is_a_conflict(house: AppHarness) -> None:
    cron_id = added(house, overlap="skip")
    house.running()
    house.http.post(f"/api/cron/{cron_id}/run")

    assert error(house.http.post(f"/api/cron/{cron_id}/run")) == (409, "conflict", "id")
    other = added(house)
    full = house.http.post(f"/api/cron/{other}/run")
    assert error(full)[:2] == (429, "queue_full")
    assert "Retry-After" in full.headers


def test_a_body_has_a_limit(house: AppHarness) -> None:
    large = {**CRON, "name": "x" * MAX_BODY}
    assert error(house.http.post("/api/cron", json=large))[:2] == (413, "too_large")


@pytest.mark.parametrize("enabled", ["", "any", "1"])
def test_a_list_by_enabled_takes_true_or_false(house: AppHarness, enabled: str) -> None:
    refused = house.http.get("/api/cron", params={"enabled": enabled})

    assert error(refused) == (400, "invalid", "enabled")
