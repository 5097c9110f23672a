"""What a key allows holds at every door, and what it forbids is named."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from ollama_queue import Config, QueueManager
from ollama_queue.actors.core.config import config
from ollama_queue.http.access.access_control import AccessControl
from tests.support.fakes.model_server import FakeOllama, Hang
from tests.support.harness.tenants import ANN, BOB, OPS, TenantsHarness, grant

TASK = {"type": "generate", "model": "smollm2", "prompt": "x"}
CHAT = {"model": "smollm2", "messages": [{"role": "user", "content": "hi"}]}
Make = Callable[..., TenantsHarness]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[TenantsHarness] = []

    def of(**rules: Any) -> TenantsHarness:
        keys = [
            config.KeySettings(name="ann", key=ANN * 2, **rules),
            config.KeySettings(name="bob", key=BOB * 2),
            config.KeySettings(name="ops", key=OPS * 2, role="admin"),
        ]
        auth = config.AuthSettings(keys=keys)
        house = TenantsHarness(tmp_path, keys=auth.grants, auth=auth)
        made.append(house)
        return house

    yield of
    for house in made:
        house.close()


def ann(house: TenantsHarness) -> httpx.Client:
    return house.client(ANN * 2)


def refusal(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json()["error"].get("field")


def test_a_priority_above_the_keys_is_refused_and_a_default_lowered(make: Make) -> None:
    house = make(max_priority=3)
    http = ann(house)
    house.queue.pause()

    assert refusal(http.post("/api/tasks", json={**TASK, "priority": 4})) == (403, "priority")
    made = http.post("/api/tasks", json=TASK).json()["task_id"]
    assert house.queue.get_task(made).priority == 3
    moved = http.post(f"/api/tasks/{made}/priority", json={"priority": "high"})
    assert refusal(moved) == (403, "priority")
    bulk = {"ids": [made], "priority": 15}
    assert refusal(http.post("/api/tasks/priority", json=bulk)) == (403, "priority")
    house.queue.resume()
    asked = http.post("/api/chat", json={**CHAT, "stream": False})
    assert asked.status_code == 200
    assert house.queue.get_task(asked.headers["X-Queue-Task-Id"]).priority == 3
    tier = http.post("/v1/chat/completions", json={**CHAT, "service_tier": "priority"})
    assert house.queue.get_task(tier.headers["X-Queue-Task-Id"]).priority == 3
    explicit = http.post("/api/chat", json=CHAT, headers={"X-Queue-Priority": "high"})
    assert explicit.status_code == 403 and "at most 3" in explicit.json()["error"]
    batch = http.post("/api/tasks/batch", json=[TASK, {**TASK, "priority": 9}])
    assert refusal(batch) == (403, "tasks[1].priority")
    cron = {"name": "c", "cron_expr": "@daily", "task_template": {**TASK, "priority": 9}}
    assert refusal(http.post("/api/cron", json=cron)) == (403, "priority")


def test_other_models_are_refused_and_hidden(make: Make) -> None:
    house = make(models=["qwen*"])
    house.queue.probe_backends()
    http = ann(house)

    assert refusal(http.post("/api/tasks", json=TASK)) == (403, "model")
    fallback = {**TASK, "model": "qwen3", "fallback_models": ["smollm2"]}
    assert refusal(http.post("/api/tasks", json=fallback)) == (403, "model")
    assert http.post("/api/chat", json=CHAT).status_code == 403
    openai = http.post("/v1/chat/completions", json=CHAT).json()["error"]
    assert openai["code"] == "forbidden" and openai["param"] == "model"
    anthropic = http.post("/v1/messages", json={**CHAT, "max_tokens": 1})
    assert anthropic.json()["error"]["type"] == "permission_error"
    params = {**CHAT, "model": "qwen3", "max_tokens": 1}
    batch = {"requests": [{"custom_id": "a", "params": params}]}
    headers = {"X-Queue-Fallback-Models": "qwen3:4b, smollm2"}
    refused = http.post("/v1/messages/batches", json=batch, headers=headers)
    assert refused.json()["error"]["type"] == "permission_error"
    assert http.get("/v1/files").json()["data"] == []  # and its file is not kept
    for path in ("/api/tags", "/api/ps", "/v1/models", "/api/backends", "/api/status"):
        assert "smollm2" not in http.get(path).text, path
    assert "qwen3" in http.get("/api/tags").text
    assert http.post("/api/show", json={"model": "smollm2"}).status_code == 404
    assert http.post("/api/generate", json={"model": "smollm2"}).status_code == 404
    assert http.post("/api/tasks", json={**TASK, "model": "qwen3"}).status_code == 201


def test_another_tenant_is_refused_and_a_user_id_is_none(make: Make) -> None:
    house = make()
    http = ann(house)

    assert refusal(http.post("/api/tasks", json={**TASK, "tenant": "bob"})) == (403, "tenant")
    named = http.post("/api/chat", json=CHAT, headers={"X-Queue-Tenant": "bob"})
    assert named.status_code == 403
    body = {**CHAT, "max_tokens": 5, "metadata": {"user_id": "u1"}}
    answer = http.post("/v1/messages", json=body)
    assert house.queue.get_task(answer.headers["X-Queue-Task-Id"]).tenant == "ann"


def test_the_rate_of_a_key_answers_429_with_the_time_to_wait(make: Make) -> None:
    http = ann(make(rate="2/h"))

    answers = [http.get("/api/tasks") for _ in range(3)]

    assert [each.status_code for each in answers] == [200, 200, 429]
    assert 1700 <= int(answers[-1].headers["Retry-After"]) <= 1800


def test_no_more_of_a_tenants_tasks_wait_than_its_keys_allow(make: Make) -> None:
    house = make(max_waiting=2)
    house.queue.pause()
    http = ann(house)

    assert http.post("/api/tasks/batch", json=[TASK] * 3).status_code == 429
    statuses = [http.post("/api/tasks", json=TASK).status_code for _ in range(3)]
    others = house.client(BOB * 2).post("/api/tasks", json=TASK)

    assert statuses == [201, 201, 429]
    assert others.status_code == 201


def test_no_more_of_a_tenants_tasks_run_at_once_and_others_pass(make: Make) -> None:
    house = make(max_running=1)
    house.fake.script(Hang(), Hang())
    http, bob = ann(house), house.client(BOB * 2)

    first, second = (http.post("/api/tasks", json=TASK).json()["task_id"] for _ in range(2))
    house.fake.wait_for_calls(1)
    other = bob.post("/api/tasks", json=TASK).json()["task_id"]
    house.fake.wait_for_calls(2)

    assert house.queue.get_task(other).status == "running"
    assert house.queue.get_task(second).status == "pending"
    http.post(f"/api/tasks/{first}/cancel")
    assert house.queue.wait(second, timeout=20).status == "completed"


def test_budgets_survive_a_restart(tmp_path: Path) -> None:
    fake = FakeOllama()
    auth = config.AuthSettings(
        keys=[config.KeySettings(name="ann", key=ANN * 2, requests_per_day=2, tokens_per_day=10**6)]
    )
    settings = Config(
        ollama=config.OllamaSettings(host=fake.url),
        queue=config.QueueSettings(storage_path=str(tmp_path)),
        auth=auth,
    )
    with QueueManager(settings) as queue:
        queue.wait(queue.submit_task({**TASK, "tenant": "ann"}), timeout=10)
    with QueueManager(settings) as queue:
        queue.submit_task({**TASK, "tenant": "ann"})
        with pytest.raises(Exception, match="budget of ann is used up: 2 tasks a day") as full:
            queue.submit_task({**TASK, "tenant": "ann"})
        queue.submit_task({**TASK, "tenant": "bob"})
    assert 0 < full.value.retry_after_s <= 86_400
    fake.refuse()


def test_what_is_left_of_budgets_is_shown_to_its_tenant_and_to_admins(make: Make) -> None:
    house = make(requests_per_day=3, tokens_per_month=10)
    http, ops = ann(house), house.client(OPS * 2)
    made = http.post("/api/tasks", json=TASK).json()["task_id"]
    house.queue.wait(made, timeout=20)

    budgets = http.get("/api/usage").json()["budgets"]
    assert [(each["name"], each["limit"], each["left"]) for each in budgets] == [
        ("requests_per_day", 3, 2),
        ("tokens_per_month", 10, 10 - budgets[1]["used"]),
    ]
    assert budgets[1]["used"] > 0
    tomorrow = datetime.fromisoformat(budgets[0]["resets_at"])
    assert (tomorrow.hour, tomorrow.minute) == (0, 0)
    keys = {each["name"]: each["budgets"] for each in ops.get("/api/keys").json()}
    assert keys == {"ann": budgets, "bob": [], "ops": []}
    assert ops.get("/api/usage", params={"tenant": "ann"}).json()["budgets"] == budgets
    assert house.client(BOB * 2).get("/api/usage").json()["budgets"] == []


def test_an_expired_key_says_so(make: Make) -> None:
    house = make(expires_at=datetime(2020, 1, 1, tzinfo=UTC))

    answer = ann(house).get("/api/tasks")

    assert answer.status_code == 401
    assert answer.json()["error"]["message"] == "the key ann expired at 2020-01-01T00:00:00Z"


def test_a_keys_tasks_run_only_on_its_backends(tmp_path: Path) -> None:
    one, two = FakeOllama(), FakeOllama()
    auth = config.AuthSettings(keys=[config.KeySettings(name="ann", key=ANN * 2, backends=["b*"])])
    settings = Config(
        backends=[config.Backend(name=n, url=f.url) for n, f in (("a1", one), ("b1", two))],
        queue=config.QueueSettings(storage_path=str(tmp_path)),
        auth=auth,
    )
    with QueueManager(settings) as queue:
        house = TenantsHarness.__new__(TenantsHarness)
        house.app = __import__("ollama_queue.http.serving.app", fromlist=["create_app"]).create_app(
            queue, access=AccessControl(auth.grants)
        )
        http = ann(house)
        ids = [http.post("/api/tasks", json=TASK).json()["task_id"] for _ in range(4)]
        for task_id in ids:
            assert queue.wait(task_id, timeout=20).executed_on == "b1"
        assert refusal(http.post("/api/tasks", json={**TASK, "backend": "a1"})) == (403, "backend")
        assert [each["name"] for each in http.get("/api/backends").json()] == ["b1"]
    assert not one.calls
    one.refuse(), two.refuse()


def test_unloading_a_model_is_for_admins(make: Make) -> None:
    house = make()
    body = {"model": "smollm2", "keep_alive": 0}

    assert ann(house).post("/api/generate", json=body).status_code == 403
    assert house.client(OPS * 2).post("/api/generate", json=body).status_code == 200


def test_wrong_keys_are_slowed_down_and_right_ones_are_not(tmp_path: Path) -> None:
    house = TenantsHarness(tmp_path, keys=[grant(ANN)])
    wrong, right = house.client("oq_wrong"), house.client(ANN)

    for _ in range(12):
        assert wrong.get("/api/tasks").status_code == 401
        assert right.get("/api/tasks").status_code == 200
    assert house.client(None).get("/api/tasks").status_code == 401

    assert house.delays == sorted(house.delays) and len(house.delays) == 7
    assert house.delays[-1] == 4.0
    house.close()
