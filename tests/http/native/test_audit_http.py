"""Who made a change over HTTP: the key's name, the door, the address; and who may read that."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ollama_queue.actors.core.access.keys import Grant, digest_of
from ollama_queue.actors.core.model.access_keys import Role
from ollama_queue.http.access.access_control import AccessControl
from tests.support.harness.app import AppHarness, client


@pytest.fixture
def house(tmp_path: Path) -> Iterator[AppHarness]:
    made = AppHarness(tmp_path)
    made.fake.lists("smollm2", loaded=["smollm2"])
    yield made
    made.close()


@pytest.fixture
def http(house: AppHarness) -> httpx.Client:
    grants = [
        Grant("ann", Role.ADMIN, digest=digest_of("a")),
        Grant("bob", Role.USER, tenant="bob", digest=digest_of("b")),
    ]
    return client(house.queue, access=AccessControl(grants))


def test_an_entry_names_the_key_and_the_door(house: AppHarness, http: httpx.Client) -> None:
    def post(path: str, key: str, **headers: str) -> None:
        answer = http.post(path, headers={"Authorization": f"Bearer {key}", **headers})
        assert answer.status_code == 200

    post("/api/pause", "a")
    post("/api/resume", "a", **{"Sec-Fetch-Site": "same-origin"})
    post("/api/pause", "a", **{"User-Agent": "ollama-queue"})

    entries = house.queue.list_audit().entries[::-1]
    assert [(each.who, each.door) for each in entries] == [
        ("ann", "http"),
        ("ann", "page"),
        ("ann", "client"),
    ]


def test_only_admins_read_the_audit_log(http: httpx.Client) -> None:
    statuses = [
        http.get("/api/audit", headers={"Authorization": f"Bearer {key}"}).status_code
        for key in ("a", "b", "c")
    ]

    assert statuses == [200, 403, 401]


def test_a_key_is_in_no_entry(house: AppHarness, http: httpx.Client) -> None:
    http.post("/api/pause", headers={"Authorization": "Bearer a-long-secret-key"})
    http.post("/api/pause", headers={"Authorization": "Bearer a"})

    assert "secret" not in str(house.queue.list_audit())


def test_loading_and_unloading_a_model_have_entries(house: AppHarness) -> None:
    for keep_alive in ("5m", 0):
        body = {"model": "smollm2", "prompt": "", "keep_alive": keep_alive}
        house.http.post("/api/generate", json=body)

    entries = house.queue.list_audit().entries[::-1]
    assert [(each.action, each.target, each.detail) for each in entries] == [
        ("load_model", "ollama", "smollm2"),
        ("unload_model", "ollama", "smollm2"),
    ]
