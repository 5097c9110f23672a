"""The table of native routes: the app registers just these, and each verb has its own."""

import re
from typing import Any

import pytest

from ollama_queue import AsyncClient, Client, Invalid, QueueManager
from ollama_queue.actors.api.queue_api import QueueAPI
from ollama_queue.http import routes, wire
from ollama_queue.http.clients import requests
from ollama_queue.http.routes import ROUTES, HttpRoute
from ollama_queue.http.serving.app import create_app
from tests.support.harness.app import AppHarness, error
from tests.support.servers.real_models import ROOT

NO_ROUTES = {  # verbs of `QueueAPI` that are no request of their own, and why
    "submit_task": "submit",
    "submit_scheduled_task": "submit",
    "submit_task_with_callback": "submit, and the end as an event",
    "submit_task_with_channel": "submit, and the end as an event",
    "submit_streaming_task": "submit, then stream_task",
    "submit_batch_tasks": "submit_batch, then wait_batch",
    "submit_batch_tasks_async": "submit_batch, and the ends as events",
    "submit_scheduled_batch_tasks_async": "submit_batch, and the ends as events",
    "wait_batch": "subscribe, then list_page",
    "as_completed": "subscribe, then list_page",
    "on_end": "subscribe, then get_task",
    "get_task_status": "get_task",
    "wait": "get_task with ?wait=",
    "list_tasks": "list_page, as often as it takes",
    "unsubscribe": "the subscription's connection is closed",
    "close": "of this end alone: no request closes a server",
}
ids = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)


def test_the_app_registers_the_table_and_nothing_else_of_its_own() -> None:
    registered = [
        (route.method, route.rule.replace("<", "{").replace(">", "}"))
        for route in create_app(QueueManager()).routes
        if route.rule != "/" and not route.rule.startswith("/static/")  # the page
        if not wire.is_ollamas(route.rule) and not wire.is_openais(route.rule)
    ]

    assert registered == [(route.method, route.path) for route in ROUTES]


def test_the_readme_has_the_table_with_its_sentences() -> None:
    text = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| `([A-Z]+ [^`]+)` \| (.*) \|$", text, re.MULTILINE)
    table = [(f"{route.method} {route.public_path}", route.summary) for route in ROUTES]
    shown = [
        (address, about[: len(summary)])  # the README may say more behind the sentence
        for (address, about), (_, summary) in zip(rows, table, strict=False)
    ]

    assert shown == table


def test_each_verb_has_a_route_or_a_reason_for_none() -> None:
    verbs = {name for name in dir(QueueAPI) if not name.startswith("_")}
    routed = {route.verb for route in ROUTES} - {""}

    assert routed | NO_ROUTES.keys() == verbs
    assert routed & NO_ROUTES.keys() == set()


def test_a_route_without_a_verb_is_one_of_the_servers_own() -> None:
    assert {route.operation for route in ROUTES if not route.verb} == {
        "healthz",
        "metrics",
        "openapi",
        "readyz",
        "test_cron",  # a question of the page's form: nothing is asked of the queue
    }


@ids
def test_a_path_names_at_most_one_thing_that_clients_can_check(route: HttpRoute[Any]) -> None:
    names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]

    assert len(names) <= 1
    assert set(names) <= requests.TARGETS.keys()


@ids
def test_a_request_is_built_of_the_route_alone(route: HttpRoute[Any]) -> None:
    request = requests.build(route, "a b")

    assert request.method == route.method
    assert request.path == route.public_path.replace("{id}", "a%20b")
    assert request.kind is route.answer


def test_a_target_is_checked_before_anything_is_sent() -> None:
    with pytest.raises(Invalid, match="task_id") as raised:
        requests.build(routes.CANCEL_TASK, 3)

    assert raised.value.field == "task_id"


@ids
def test_both_clients_have_the_verb(route: HttpRoute[Any]) -> None:
    assert not route.verb or (hasattr(Client, route.verb) and hasattr(AsyncClient, route.verb))


@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if isinstance(route.query, tuple) and route.query],
    ids=lambda route: route.operation,
)
def test_a_query_takes_what_the_table_says_and_nothing_else(
    house: AppHarness, route: HttpRoute[Any]
) -> None:
    assert isinstance(route.query, tuple)
    names = sorted(parameter.name for parameter in route.query)
    path = route.public_path.replace("{id}", house.done())

    refused = house.http.request(route.method, path, params={"nope": "1"})

    assert error(refused) == (400, "invalid", "nope")
    assert refused.json()["error"]["message"].endswith(f"it takes {', '.join(names)}")


def test_a_route_without_parameters_says_that_it_takes_none(house: AppHarness) -> None:
    refused = house.http.get(f"/api/tasks/{house.done()}/stream", params={"wait": 1})

    assert error(refused) == (400, "invalid", "wait")
    assert refused.json()["error"]["message"].endswith("of this route; it takes none")
