"""Models that come, go, or are nowhere, on several model servers."""

from pathlib import Path
from typing import Any

from ollama_queue import Status
from ollama_queue.actors.core.config.config import RemoteScheduling
from tests.support.fakes.model_server import Answer, Hang
from tests.support.harness.backends import PATIENCE_S, Fleet, ask

# Looked at as often as the prober looks: four times a second.
OFTEN = RemoteScheduling(health_check_interval=0.01)
GONE = Answer(404, {"error": "404 page not found"})


def test_a_model_is_run_as_soon_as_one_has_it(tmp_path: Path) -> None:
    with Fleet(tmp_path, rules=OFTEN, gpu1={}, gpu2={}) as fleet:
        fleet.found()
        task_id = fleet.queue.submit_task(ask(model="new:1b"))
        waiting = fleet.queue.get_task(task_id)
        other = fleet.run(ask())
        fleet["gpu2"].lists("m", "new:1b")  # as a pull does
        task = fleet.ended(task_id)

    assert (waiting.status, waiting.waiting_for, waiting.attempt) == ("pending", "backend", 0)
    assert waiting.eta_s is None
    assert other.status is Status.COMPLETED
    assert (task.status, task.executed_on, task.attempt) == (Status.COMPLETED, "gpu2", 1)


def test_a_model_that_came_a_moment_ago_is_found_by_the_task_that_wants_it(tmp_path: Path) -> None:
    with Fleet(tmp_path, gpu1={}, llama={"type": "openai"}) as fleet:
        fleet.found()
        fleet["llama"].lists("m", "new")
        task = fleet.run(ask(model="new"))

    assert (task.status, task.executed_on) == (Status.COMPLETED, "llama")


def test_a_model_that_none_has_fails_its_tasks_and_no_others(tmp_path: Path) -> None:
    backends: dict[str, Any] = {"gpu1": {}, "gpu2": {}, "llama": {"type": "openai"}}
    with Fleet(tmp_path, model_wait=0.3, **backends) as fleet:
        fleet.found()
        fleet["gpu1"].script(Hang())
        held = fleet.queue.submit_task(ask(backend="gpu1"))
        asked = [
            ask(model="nope"),
            ask(model="nope", options={"num_ctx": 512}),
            ask(model="nope", backend="gpu2"),
        ]
        tasks = [fleet.ended(fleet.queue.submit_task(new)) for new in asked]
        still = fleet.queue.get_task_status(held)

    limit = "did not list it within 0.3 s (scheduler.model_wait)"
    assert [task.error for task in tasks] == [
        f"no backend has the model nope: gpu1, gpu2, llama {limit}",
        f"no backend has the model nope: gpu1, gpu2, llama {limit}",
        f"no backend has the model nope: gpu2 {limit}",
    ]
    assert {(task.status, task.attempt, task.executed_on) for task in tasks} == {
        (Status.FAILED, 0, None)
    }
    assert still is Status.RUNNING


def test_a_model_whose_only_server_is_out_is_waited_for(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, model_wait=0.1, gpu1={}, gpu2={})
    fleet.lists(gpu1=["m", "mine"], gpu2=["m"])
    with fleet:
        fleet.found()
        fleet["gpu1"].refuse()
        task_id = fleet.queue.submit_task(ask(model="mine", max_retries=0))
        failed = fleet.run(ask(model="nope"))  # by then `mine` has waited longer than model_wait
        waiting = fleet.queue.get_task(task_id)
        fleet["gpu1"].accept()
        task = fleet.ended(task_id)

    assert failed.status is Status.FAILED
    assert (waiting.status, waiting.waiting_for) == (Status.PENDING, "backend")
    assert (task.status, task.executed_on, task.retry_count) == (Status.COMPLETED, "gpu1", 0)


def test_a_model_that_goes_is_no_longer_sent_there(tmp_path: Path) -> None:
    with Fleet(tmp_path, rules=OFTEN, gpu1={"priority": 9}, gpu2={}) as fleet:
        fleet.found()
        fleet["gpu1"].lists("smollm2")
        news = len(fleet["gpu1"].probes)
        while fleet.state("gpu1").models != ["smollm2"]:
            assert fleet.run(ask()).status is Status.COMPLETED
        task = fleet.run(ask())

    assert len(fleet["gpu1"].probes) > news
    assert task.executed_on == "gpu2"


def test_a_model_that_went_since_the_last_look_is_run_elsewhere(tmp_path: Path) -> None:
    with Fleet(tmp_path, gpu1={"priority": 9}, gpu2={}) as fleet:
        fleet.found()
        fleet["gpu1"].lists("smollm2")  # as a delete does
        fleet["gpu1"].script(Answer(404, {"error": "model 'm' not found"}))
        task = fleet.run(ask(max_retries=0))
        again = fleet.run(ask())
        state = fleet.state("gpu1")

    assert (task.status, task.executed_on, task.retry_count) == (Status.COMPLETED, "gpu2", 0)
    assert [ended.backend for ended in task.attempts] == ["gpu1", "gpu2"]
    assert (again.executed_on, again.attempt, state.healthy) == ("gpu2", 1, True)


def test_or_its_task_waits_until_one_has_it_again(tmp_path: Path) -> None:
    gone = {"error": {"message": "The model `m` does not exist.", "code": "model_not_found"}}
    with Fleet(tmp_path, rules=OFTEN, llama={"type": "openai"}) as fleet:
        fleet.found()
        fleet["llama"].lists("smollm2")
        fleet["llama"].script(Answer(404, gone))
        task_id = fleet.queue.submit_task(ask(max_retries=0))
        fleet.until(lambda: fleet.queue.get_task(task_id).attempt == 1)
        fleet.until(lambda: fleet.queue.get_task(task_id).waiting_for == "backend")
        fleet["llama"].lists("m")
        task = fleet.ended(task_id)

    assert (task.status, task.attempt, task.retry_count) == (Status.COMPLETED, 2, 0)


def test_an_ollama_that_does_not_list_its_models_gets_no_calls(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, gpu1={"priority": 9}, gpu2={})
    fleet["gpu1"].facts["/api/tags"] = GONE
    with fleet:
        news = fleet.queue.subscribe(["backend_changed"])
        task = fleet.run(ask())
        state = fleet.state("gpu1")
        while state.healthy:
            news.get(PATIENCE_S)
            state = fleet.state("gpu1")
        fleet["gpu1"].lists("m", loaded=["m"])
        while not fleet.state("gpu1").healthy:
            news.get(PATIENCE_S)
        again = fleet.run(ask())

    assert (task.executed_on, again.executed_on) == ("gpu2", "gpu1")
    assert state.models is None
    assert state.error == f"gpu1 at {fleet['gpu1'].url} answered 404: 404 page not found"


def test_an_openai_server_that_does_not_list_its_models_gets_all(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, gpu1={}, llama={"type": "openai"})
    fleet["llama"].facts["/v1/models"] = GONE
    with fleet:
        fleet.found()
        task = fleet.run(ask(model="whatever"))
        state = fleet.state("llama")

    assert (task.status, task.executed_on) == (Status.COMPLETED, "llama")
    assert (state.healthy, state.models) == (True, None)


def test_a_pinned_model_needs_no_listing(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, gpu1={"models": ["mine"]}, gpu2={})
    fleet["gpu2"].facts["/api/tags"] = GONE
    with fleet:
        task = fleet.run(ask(model="mine:latest"))
        again = fleet.run(ask(model="mine"))

    assert (task.executed_on, again.executed_on) == ("gpu1", "gpu1")


def test_tasks_of_a_backend_that_is_taken_out_of_the_settings_fail_and_others_go_on(
    tmp_path: Path,
) -> None:
    backends: dict[str, Any] = {"gpu1": {"tags": ["fast"]}, "llama": {"type": "openai"}}
    with Fleet(tmp_path, model_wait=0.3, **backends) as fleet:
        fleet.found()
        fleet.queue.pause()
        wishes = [
            ask(backend="gpu1"),
            ask(backend="tag:fast"),
            ask(template="{{ .Prompt }}"),
            ask(),
        ]
        ids = [fleet.queue.submit_task(new) for new in wishes]
        fleet.queue.drain_backend("gpu1")
        fleet.reopened(without="gpu1")
        fleet.queue.resume()
        tasks = [fleet.ended(task_id) for task_id in ids]

    limit = "within 0.3 s (scheduler.model_wait)"
    assert [task.error for task in tasks] == [
        f"no backend that may run it (gpu1) appeared {limit}",
        f"no backend that may run it (tag:fast) appeared {limit}",
        f"no backend that may run it (an Ollama) appeared {limit}",
        None,
    ]
    assert tasks[-1].executed_on == "llama"
