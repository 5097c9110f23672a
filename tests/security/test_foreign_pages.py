"""What pages of other sites can have a browser send is refused on every route: simple requests,
which no preflight precedes, requests of pages without an origin, and those to a rebound name."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ollama_queue.http.serving.app import QueueApp, create_app
from ollama_queue.http.serving.guard import Guard
from tests.support.harness.app import TASK, AppHarness

# The types of bodies that a page may send anywhere without asking, and one that it may not.
KINDS = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/json",
]
FOREIGN: list[dict[str, str]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "http://evil.example:7125", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "null"},  # of a sandboxed frame, or a file
    {"Sec-Fetch-Site": "cross-site"},  # of a page that suppresses its origin
]
HERE = "http://127.0.0.1:7125"


class Site:
    """The app as a server on this machine has it, and a client; every call is a task's id."""

    def __init__(self, folder: Path) -> None:
        self.house = AppHarness(folder)
        self.house.queue.pause()
        self.app: QueueApp = create_app(
            self.house.queue, passes_admin=True, guard=Guard(loopback_only=True)
        )
        transport = httpx.WSGITransport(app=self.app)
        self.http = httpx.Client(transport=transport, base_url=HERE)

    def writing(self) -> list[tuple[str, str]]:
        """Method and path of each route that may change something."""
        safe = ("GET", "HEAD")
        routes = [route for route in self.app.routes if route.method not in safe]
        return [(route.method, re.sub("<.*?>", "x", route.rule)) for route in routes]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.http.close()
    made.house.close()


def field(answer: httpx.Response) -> str:
    """What an error is about, in the form of any API."""
    return str(answer.json()["error"])


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_no_route_takes_a_simple_request_of_another_site(
    site: Site, headers: dict[str, str]
) -> None:
    seen = 0
    for method, path in site.writing():
        for kind in KINDS:
            answer = site.http.request(
                method, path, json=TASK, headers={**headers, "Content-Type": kind}
            )
            assert answer.status_code == 403, (method, path, kind)
            assert "pages of" in field(answer)
            assert "Access-Control-Allow-Origin" not in answer.headers
            seen += 1

    assert seen > 100
    stats = site.house.queue.get_queue_stats()
    assert (stats.total_tasks, stats.paused) == (0, True)
    assert site.house.fake.changes == []


def test_a_page_of_another_site_reads_nothing(site: Site) -> None:
    site.house.submit()
    for route in site.app.routes:
        if route.method == "GET" and "<" not in route.rule and route.rule != "/api/events":
            answer = site.http.get(route.rule, headers={"Origin": "https://evil.example"})
            assert "Access-Control-Allow-Origin" not in answer.headers, route.rule
            assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7125", "127.0.0.1.evil.example"])
def test_no_route_answers_under_a_name_that_was_rebound(site: Site, host: str) -> None:
    """The browser takes the page for the server's own: it sends no foreign origin."""
    seen = 0
    for route in site.app.routes:
        path = re.sub("<.*?>", "x", route.rule)
        for headers in ({}, {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}):
            answer = site.http.request(route.method, path, headers={"Host": host, **headers})
            assert answer.status_code == 403, (route.method, path)
            seen += 1

    assert seen > 100
    assert site.house.queue.get_queue_stats().paused


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_a_websocket_of_another_site_is_refused_before_it_opens(site: Site, origin: str) -> None:
    upgrade: dict[str, Any] = {"Upgrade": "websocket", "Connection": "Upgrade", "Origin": origin}
    answer = site.http.get("/ws", headers=upgrade)

    assert answer.status_code == 403


def test_no_page_of_another_site_may_frame_the_page(site: Site) -> None:
    policy = site.http.get("/", headers={"Accept": "text/html"}).headers["Content-Security-Policy"]

    assert "frame-ancestors 'none'" in policy
