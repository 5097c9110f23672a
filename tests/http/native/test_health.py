"""`/metrics` and `/readyz`: what they say, and whom they tell nothing."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from ollama_queue import QueueManager
from ollama_queue.actors.core.activity.totals import MOST_MODELS
from ollama_queue.actors.core.model.errors import Unavailable
from ollama_queue.http.native.metrics import page
from tests.support.fakes.model_server import Answer
from tests.support.harness.app import AppHarness, client, error


def samples(text: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def scrape(house: AppHarness) -> dict[tuple[str, str], float]:
    """The values by name and the main label's value."""
    answer = house.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, main_label(sample.labels)): sample.value for sample in samples(answer.text)
    }


def main_label(labels: dict[str, str]) -> str:
    first = next(iter(labels.values()), "")
    return labels.get("model", labels.get("backend", first))


def test_metrics_tell_what_happened(house: AppHarness) -> None:
    house.done()
    house.done()
    house.fake.script(Answer(400, {"error": "no"}))
    house.done()
    metrics = scrape(house)

    assert metrics["ollama_queue_stored_tasks", "completed"] == 2
    assert metrics["ollama_queue_tasks_submitted_total", "smollm2"] == 3
    assert metrics["ollama_queue_run_seconds_count", "smollm2"] == 2
    assert metrics["ollama_queue_wait_seconds_count", "smollm2"] == 3
    assert metrics["ollama_queue_backend_calls_total", "ollama"] == 3
    assert metrics["ollama_queue_backend_failures_total", "ollama"] == 1
    assert metrics["ollama_queue_backend_healthy", "ollama"] == 1
    assert metrics["ollama_queue_fsync_seconds_count", ""] >= 3
    assert metrics["ollama_queue_restarts_total", ""] == 0
    assert metrics["ollama_queue_workers", "idle"] == 1
    assert metrics["process_resident_memory_bytes", ""] > 1e6


def test_due_tasks_and_depths_are_counted(house: AppHarness) -> None:
    house.done()
    scrape(house)
    house.running()
    house.submit({"type": "generate", "model": "smollm2", "prompt": "x", "priority": 10})
    metrics = scrape(house)

    assert metrics["ollama_queue_pending_tasks", "10"] == 1
    assert metrics["ollama_queue_due_tasks", "smollm2"] == 1
    assert metrics["ollama_queue_waiting_tasks", "slot"] == 1
    assert metrics["ollama_queue_workers", "active"] == 1


def test_labels_hold_no_text_of_users(house: AppHarness) -> None:
    house.queue.pause()
    house.submit(
        {
            "type": "generate",
            "model": "secret-model",
            "prompt": "secret prompt",
            "tenant": "secret-tenant",
            "tags": ["secret-tag"],
        }
    )
    text = house.http.get("/metrics").text

    assert "secret" not in text
    assert 'ollama_queue_tasks_submitted_total{model="other"} 1.0' in text


def test_the_number_of_series_is_bounded(tmp_path: Path) -> None:
    from ollama_queue.actors.core.activity.measures import BusMeasures
    from ollama_queue.actors.core.activity.tallies import Tallies
    from ollama_queue.actors.core.activity.totals import Totals

    totals = Totals()
    for number in range(10 * MOST_MODELS):
        tallies = Tallies()
        tallies.of((f"m{number}", "b", None, ())).submitted += 1
        totals.add(tallies.all())
        shown = totals.shown(frozenset({f"m{number}"}))
    with QueueManager(storage_path=str(tmp_path)) as queue:
        measures = queue.measure()
    bus = BusMeasures(shown, 0.0, 0, 0, 0)
    text = page(type(measures)(**{**_fields(measures), "bus": bus}), {})

    named = [s for s in samples(text.decode()) if s.name.endswith("tasks_submitted_total")]
    assert len(named) == MOST_MODELS + 1
    assert sum(sample.value for sample in named) == 10 * MOST_MODELS


def _fields(record: object) -> dict[str, object]:
    return {name: getattr(record, name) for name in type(record).__struct_fields__}  # type: ignore[attr-defined]


def test_a_queue_that_takes_tasks_is_ready(house: AppHarness) -> None:
    house.done()
    assert house.http.get("/readyz").json() == {"status": "ready", "warnings": []}

    house.queue.pause()
    assert house.http.get("/readyz").json() == {
        "status": "ready",
        "warnings": ["the queue is paused: no task is started"],
    }


def test_a_full_or_stopped_queue_is_not_ready(house: AppHarness) -> None:
    house.queue.pause()
    house.submit()

    full = house.http.get("/readyz")
    assert error(full) == (503, "unavailable", None)
    assert "full" in full.json()["error"]["message"]

    house.queue.close(grace_s=0)
    stopped = house.http.get("/readyz")
    assert error(stopped)[:2] == (503, "unavailable")
    assert "stopped" in stopped.json()["error"]["message"]


def test_a_full_disk_is_not_ready(house: AppHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(size: int = 0) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(house.queue._free_space, "check", refuse)

    assert error(house.http.get("/readyz"))[:2] == (503, "unavailable")


def test_only_admins_get_metrics_and_strangers_no_reasons(house: AppHarness) -> None:
    from ollama_queue.actors.core.access.keys import Grant, digest_of
    from ollama_queue.actors.core.model.access_keys import Role
    from ollama_queue.http.access.access_control import AccessControl

    access = AccessControl(
        [
            Grant("ann", Role.ADMIN, digest=digest_of("a")),
            Grant("bob", Role.USER, tenant="bob", digest=digest_of("b")),
        ]
    )
    http = client(house.queue, access=access)

    def status(path: str, key: str | None) -> int:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return http.get(path, headers=headers).status_code

    assert [status("/metrics", key) for key in (None, "b", "a")] == [401, 403, 200]
    assert status("/api/history?tenant=ann", "b") == 403
    assert [status("/api/usage?tenant=ann", key) for key in ("b", "a")] == [403, 200]
    house.queue.close(grace_s=0)
    refused = http.get("/readyz")
    assert refused.status_code == 503
    assert refused.json()["error"]["message"] == "not ready"
