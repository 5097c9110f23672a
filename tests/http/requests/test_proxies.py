"""Proxies before the server: the client's address, and a prefix of all paths."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import websocket
from hypothesis import given
from hypothesis import strategies as some

from ollama_queue.http.requests.proxies import Proxies, group_of
from ollama_queue.http.serving.connection_limit import AddressLimit
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer

PROXY, OTHER, CLIENT = "10.0.0.1", "10.9.9.9", "203.0.113.7"
HEADER = "x-forwarded-for"

# --- the client's address -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        (CLIENT, "1.2.3.4", CLIENT),  # no proxy of ours: what it says does not count
        (PROXY, "", PROXY),
        (PROXY, CLIENT, CLIENT),
        (PROXY, f"1.2.3.4, {CLIENT}", CLIENT),  # the client made up the first
        (PROXY, f"{CLIENT}, {OTHER}", CLIENT),  # two proxies of ours
        (PROXY, f"{PROXY}, {OTHER}", PROXY),
        (PROXY, f"{CLIENT}:4711", CLIENT),
        (PROXY, "[2001:db8::1]:4711", "2001:db8::1"),
        (PROXY, "2001:db8::1", "2001:db8::1"),
        (PROXY, f"{CLIENT}, unknown", PROXY),
        (PROXY, f"{CLIENT}, <script>", PROXY),
        (f"::ffff:{PROXY}", CLIENT, CLIENT),
    ],
)
def test_who_a_request_comes_from(peer: str, header: str, client: str) -> None:
    proxies = Proxies(["10.0.0.0/8"])

    assert proxies.client_of(peer, {HEADER: header} if header else {}) == client


def test_by_default_nobody_is_believed() -> None:
    assert Proxies().client_of("127.0.0.1", {HEADER: CLIENT}) == "127.0.0.1"


@given(some.text(max_size=200))
def test_any_header_gives_an_address(header: str) -> None:
    assert Proxies(["10.0.0.0/8"]).client_of(PROXY, {HEADER: header})


# --- connections of an address ------------------------------------------------------------------


def test_an_address_has_so_many_connections() -> None:
    limit = AddressLimit(2, Proxies(["10.0.0.0/8"]).trusts)

    assert [limit.enter(CLIENT) for _ in range(3)] == [True, True, False]
    assert limit.enter("203.0.113.8")
    limit.leave(CLIENT)
    assert limit.enter(CLIENT)
    assert all(limit.enter(each) for each in [PROXY, "127.0.0.1", "::1"] * 5)


def test_a_network_of_one_customer_counts_as_one_address() -> None:
    limit = AddressLimit(1, Proxies().trusts)

    assert limit.enter("2001:db8::1")
    assert not limit.enter("2001:db8::ffff")
    assert limit.enter("2001:db8:0:1::1")
    assert group_of("::ffff:203.0.113.7") == CLIENT


# --- a prefix -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "bare"),
    [
        ("/queue/api/tasks", "/api/tasks"),
        ("/queue/", "/"),
        ("/queue", None),
        ("/queued", "/queued"),
        ("/api/tasks", "/api/tasks"),
        ("/", "/"),
    ],
)
def test_a_prefix_is_taken_off(path: str, bare: str | None) -> None:
    assert Proxies(base_path="/queue").path_of(path) == bare


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    folder: Path = tmp_path_factory.mktemp("prefix")
    with FakeOllama() as fake:
        made = QueueServer(folder, fake.url)
        text = made.config.read_text() + "server: {base_path: /queue}\n"
        made.config.write_text(text)
        with made:
            yield made


def test_all_is_there_below_the_prefix(server: QueueServer) -> None:
    with httpx.Client(base_url=f"{server.base_url}/queue") as http:
        body = {"type": "generate", "model": "m", "prompt": "hi"}
        assert http.post("/api/tasks", json=body).status_code == 201
        assert http.get("/api/tasks/no-such").status_code == 404
        assert http.get("/api/tags").status_code == 200
        page = http.get("/", headers={"Accept": "text/html"})
        assert page.headers["Content-Type"].startswith("text/html")
        assert 'href="/' not in page.text and 'src="/' not in page.text
        listed = http.get("/api/tasks", params={"limit": 1})
        assert listed.headers.get("Link", "<?").startswith("<?")
        assert http.get("/openapi.json").json()["servers"] == [{"url": "."}]
    assert httpx.get(f"{server.base_url}/healthz").status_code == 200


def test_the_prefix_alone_leads_to_the_page(server: QueueServer) -> None:
    answer = httpx.get(f"{server.base_url}/queue?x=1")

    assert (answer.status_code, answer.headers["Location"]) == (308, "/queue/?x=1")


def test_a_websocket_opens_below_the_prefix(server: QueueServer) -> None:
    url = server.base_url.replace("http", "ws", 1)
    client = websocket.create_connection(f"{url}/queue/ws", timeout=20)
    try:
        assert json.loads(client.recv())["type"] == "snapshot"
    finally:
        client.close()


def test_an_address_that_has_too_many_connections_is_told(tmp_path: Path) -> None:
    """From an address of this machine that is not a loopback one, if it has one."""
    address = address_of_this_machine()
    with FakeOllama() as fake:
        made = QueueServer(tmp_path, fake.url)
        made.config.write_text(
            made.config.read_text() + "server: {host: 0.0.0.0, max_per_address: 1}\n"
        )
        with made, socket.create_connection((address, made.port)):
            answer = httpx.get(f"http://{address}:{made.port}/healthz")
            assert answer.status_code == 429
            assert answer.json()["error"]["message"] == "too many connections from your address"
            assert httpx.get(f"{made.base_url}/healthz").status_code == 200
        assert "server.max_per_address" in made.log_text()


def address_of_this_machine() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback ones")
        address: str = probe.getsockname()[0]
    if address.startswith("127."):
        pytest.skip("this machine has no address but loopback ones")
    return address


def test_the_audit_log_names_the_client_behind_the_proxy(tmp_path: Path) -> None:
    with FakeOllama() as fake:
        made = QueueServer(tmp_path, fake.url)
        made.config.write_text(made.config.read_text() + "server: {trusted_proxies: [127.0.0.1]}\n")
        with made, httpx.Client(base_url=made.base_url) as http:
            http.post("/api/pause", headers={"X-Forwarded-For": f"1.2.3.4, {CLIENT}"})
            http.post("/api/resume")
            entries = http.get("/api/audit").json()["entries"]

    assert {entry["action"]: entry["address"] for entry in entries} == {
        "pause": CLIENT,
        "resume": "127.0.0.1",
    }
