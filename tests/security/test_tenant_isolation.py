"""Two tenants cannot see or touch anything of each other, on any route of the app."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ollama_queue.actors.core.access.keys import NOBODY
from ollama_queue.actors.core.model.access_keys import Role
from ollama_queue.http.access.scoped_queue import ScopedQueue
from ollama_queue.http.native.feed_broadcaster import Feed, FeedBroadcaster
from ollama_queue.http.serving.app import role_of
from tests.support.harness.belongings import SECRET, UNKNOWN, Belongings, plain, unknown_like
from tests.support.harness.tenants import ANN, BOB, EYE, OPS, TenantsHarness, grants

STREAMS = {"/api/events", "/api/tasks/<task_id>/stream"}  # without end: tested by themselves
PUBLIC = {("GET", path) for path in ("/", "/healthz", "/readyz", "/static/<name:path>")}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[TenantsHarness]:
    made = TenantsHarness(tmp_path)
    yield made
    made.close()


def routes(house: TenantsHarness) -> list[Any]:
    return [route for route in house.app.routes if route.rule not in STREAMS]


def bodies(ids: list[str]) -> list[Any]:
    return [
        None,
        {},
        {"priority": 1},
        {"ids": ids},
        {"ids": ids, "priority": 1},
        {"name": "taken"},
        {"input_file_id": ids[0], "endpoint": "/v1/chat/completions", "completion_window": "24h"},
    ]


def test_what_is_anothers_is_not_there(house: TenantsHarness) -> None:
    ann, bob = Belongings(house), house.client(BOB)
    before = ann.kept()
    seen = 0

    for route in routes(house):
        if route.method == "GET" and "<" not in route.rule:
            continue  # a list: see below
        for own in ann.ids:
            other = unknown_like(own)
            for body, same in zip(bodies([own]), bodies([other]), strict=True):
                path = re.sub("<.*?>", own, route.rule)
                foreign = bob.request(route.method, path, json=body)
                missing = bob.request(route.method, re.sub("<.*?>", other, route.rule), json=same)
                assert plain(foreign, own) == plain(missing, other), (route.method, path, body)
                assert SECRET not in foreign.text
                seen += 1

    assert seen > 1000
    assert ann.kept() == before


def test_lists_counts_and_filters_show_ones_own(house: TenantsHarness) -> None:
    ann, bob = Belongings(house), house.client(BOB)
    mine = bob.post("/api/tasks", json={"type": "generate", "model": "m", "prompt": "x"})
    own = mine.json()["task_id"]

    for route in routes(house):
        if route.method != "GET" or "<" in route.rule or route.rule == "/ws":
            continue
        answer = bob.get(route.rule)
        assert SECRET not in answer.text, route.rule
        assert not any(each in answer.text for each in ann.ids), route.rule
    for query in (
        f"q={SECRET}", "tenant=ann", "tenant=ann&tenant=bob", f"batch_id={ann.batch}",
        "status=pending", "sort=priority", "include=payload", f"tag={SECRET}", "waiting_for=paused",
        f"cron_id={ann.cron}", f"cursor=created.0.{ann.response.removeprefix('resp_')}",
    ):  # fmt: skip
        answer = bob.get(f"/api/tasks?{query}")
        assert {task["id"] for task in answer.json()} <= {own}, query
        assert answer.headers.get("X-Total-Count", "1") in ("0", "1"), query
    stats = bob.get("/api/status").json()
    assert (stats["pending_tasks"], stats["total_tasks"]) == (1, 1)
    assert sum(stats["queues_by_priority"].values()) == 1
    assert sum(stats["waiting_for"].values()) == 1


def test_bulk_reaches_only_ones_own_tasks(house: TenantsHarness) -> None:
    ann, bob = Belongings(house), house.client(BOB)
    before = ann.kept()
    mine = bob.post("/api/tasks", json={"type": "generate", "model": "m", "prompt": "x"})
    own = mine.json()["task_id"]

    for body in ({"filter": {}}, {"filter": {"tenant": ["ann"]}}, {"filter": {"q": SECRET}}):
        moved = bob.post("/api/tasks/priority", json={**body, "priority": 7}).json()
        assert moved["done"] <= 1
    answer = bob.post("/api/tasks/cancel", json={"ids": [ann.task, own, UNKNOWN]}).json()

    assert answer["done"] == 1
    assert [(each["id"], each["code"]) for each in answer["errors"]] == [
        (ann.task, "not_found"),
        (UNKNOWN, "not_found"),
    ]
    assert ann.kept() == before


def test_idempotency_keys_and_names_of_crons_are_each_tenants_own(house: TenantsHarness) -> None:
    ann, bob = Belongings(house), house.client(BOB)
    task = {"type": "generate", "model": "m", "prompt": "x"}
    first = ann.http.post("/api/tasks", json=task, headers={"Idempotency-Key": "k"})
    other = bob.post("/api/tasks", json={**task, "prompt": "y"}, headers={"Idempotency-Key": "k"})
    cron = {"name": SECRET, "cron_expr": "@daily", "task_template": task}
    named = bob.post("/api/cron?if_exists=error", json=cron)

    assert (first.status_code, other.status_code, named.status_code) == (201, 201, 201)


def test_a_feed_shows_only_ones_own(house: TenantsHarness) -> None:
    Belongings(house)
    bob = next(each for each in grants() if each.name == "bob")
    feed = Feed(FeedBroadcaster(house.queue), view=ScopedQueue(house.queue, lambda: bob))

    (snapshot,) = feed.take(10)
    house.client(ANN).post("/api/tasks", json={"type": "generate", "model": "m", "prompt": SECRET})
    house.client(ANN).delete(f"/api/cron/{house.queue.list_cron_tasks()[0].id}")
    task = {"type": "generate", "model": "m", "prompt": "bob's"}
    own = house.client(BOB).post("/api/tasks", json=task).json()["task_id"]
    events = []
    while not any(each.kind == "event" for each in events):
        events += feed.take(10)
    feed.close()

    assert SECRET.encode() not in snapshot.data
    assert json.loads(snapshot.data)["tasks"] == []
    assert {json.loads(each.data)["task"]["id"] for each in events if each.kind == "event"} == {own}


def test_each_route_needs_the_role_that_it_declares(house: TenantsHarness) -> None:
    keyless, reader, user = house.client(None), house.client(EYE), house.client(BOB)
    for route in routes(house):
        path = re.sub("<.*?>", UNKNOWN, route.rule)
        role = role_of(route)
        statuses = [
            http.request(route.method, path, json={}).status_code
            for http in (keyless, reader, user)
        ]
        is_public = (route.method, route.rule) in PUBLIC
        assert (role is None) == is_public
        if role is None:
            assert statuses[0] not in (401, 403)
        elif role is Role.READER:
            assert statuses[0] == 401 and 403 not in statuses[1:], path
        elif role is Role.USER:
            assert statuses[:2] == [401, 403] and statuses[2] != 403, path
        else:
            assert statuses == [401, 403, 403], path


def test_a_route_that_declares_nothing_is_for_admins(house: TenantsHarness) -> None:
    house.app.get("/api/forgotten", callback=lambda: {"secret": 1})

    statuses = [house.client(key).get("/api/forgotten").status_code for key in (None, BOB, OPS)]

    assert statuses == [401, 403, 200]


def test_a_verb_that_nobody_scoped_is_refused_to_tenants(house: TenantsHarness) -> None:
    bob = next(each for each in grants() if each.name == "bob")
    for caller in (bob, NOBODY):
        with pytest.raises(Exception, match="one tenant only"):
            ScopedQueue(house.queue, lambda caller=caller: caller).pause()


def test_the_admin_sees_everything_and_the_reader_her_tenant(house: TenantsHarness) -> None:
    ann = Belongings(house)
    house.client(BOB).post("/api/tasks", json={"type": "generate", "model": "m", "prompt": "x"})

    tenants = {task["tenant"] for task in house.client(OPS).get("/api/tasks").json()}
    assert tenants == {"ann", "bob"}
    assert house.client(EYE).get(f"/api/tasks/{ann.task}").status_code == 200
    assert {task["tenant"] for task in house.client(EYE).get("/api/tasks").json()} == {"ann"}


def test_deliveries_are_those_of_ones_own_tasks(house: TenantsHarness) -> None:
    ann, bob, eye = (house.client(key) for key in (ANN, BOB, EYE))
    house.queue.pause()
    task = {"type": "generate", "model": "smollm2", "prompt": SECRET}
    made = ann.post("/api/tasks", json={**task, "callback_url": f"http://127.0.0.1:9/{SECRET}"})
    assert ann.post(f"/api/tasks/{made.json()['task_id']}/cancel").status_code == 200
    (delivery,) = ann.get("/api/deliveries").json()["deliveries"]

    assert SECRET not in bob.get("/api/deliveries").text
    refused = bob.post(f"/api/deliveries/{delivery['id']}/retry")
    unknown = bob.post("/api/deliveries/msg_0/retry")
    assert (refused.status_code, unknown.status_code) == (404, 404)
    assert refused.text.replace(delivery["id"], "msg_0") == unknown.text
    assert eye.post(f"/api/deliveries/{delivery['id']}/retry").status_code == 403
    assert ann.post(f"/api/deliveries/{delivery['id']}/retry").status_code == 200
