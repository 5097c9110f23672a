"""Where a task may run."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ollama_queue.actors.core.config.config import Backend, Config, RemoteScheduling
from ollama_queue.actors.core.model.model_names import RUNNER_OPTIONS, spellings
from ollama_queue.actors.core.model.outcomes import ProbeResult
from ollama_queue.actors.core.routing.placement import gates_of
from ollama_queue.actors.core.routing.routes import Route, read_route, route_key


@pytest.mark.parametrize(
    "model",
    [
        "qwen3",
        "qwen3:latest",
        " qwen3:latest ",
        "Qwen3",
        "library/qwen3",
        "registry.ollama.ai/library/Qwen3:latest",
    ],
)
def test_a_model_and_its_latest_are_one_route(model: str) -> None:
    assert route_key(model, {}) == "qwen3"


@pytest.mark.parametrize("model", ["qwen3:8b", "latest", "hf.co/x/y:latest-1", "qwen3:latest:x"])
def test_another_tag_is_another_route(model: str) -> None:
    assert route_key(model, {}) == model


@pytest.mark.parametrize("option", sorted(RUNNER_OPTIONS))
def test_another_runner_is_another_route(option: str) -> None:
    assert len({route_key("m", options) for options in ({}, {option: 1}, {option: 2})}) == 3


def test_what_the_runner_does_not_care_about_makes_no_route() -> None:
    options = {"temperature": 0.1, "seed": 5, "stop": ["x"]}

    assert route_key("m", options) == "m"
    assert route_key("m", {**options, "num_ctx": 8}) == route_key("m:latest", {"num_ctx": 8})


def test_an_older_stores_routes_name_the_same_models() -> None:
    assert read_route("Library/Qwen3:8B") == Route("qwen3:8b")
    assert read_route('Qwen3 {"num_ctx":8}') == Route("qwen3", '{"num_ctx":8}')


def test_a_spelling_is_known_where_it_is_another_and_the_only_one() -> None:
    assert spellings(["a", "Org/B", "c:latest", "D", "d", "e", "E"]) == {
        "org/b": "Org/B",
        "c": "c:latest",
    }


@given(st.dictionaries(st.sampled_from(sorted(RUNNER_OPTIONS)), st.integers(0, 3)), st.randoms())
def test_the_order_of_options_makes_no_route(options: dict[str, int], chance: object) -> None:
    shuffled = list(options.items())
    chance.shuffle(shuffled)  # type: ignore[attr-defined]

    assert route_key("m", options) == route_key("m", dict(shuffled))


OLLAMA, OPENAI = {"url": "http://a:1"}, {"url": "http://a:1", "type": "openai"}


@pytest.mark.parametrize(
    ("first", "second", "local_first", "chosen"),
    [
        (OLLAMA, {**OLLAMA, "priority": 1}, True, "second"),
        ({**OLLAMA, "remote": True, "priority": 1}, OLLAMA, True, "second"),
        ({**OLLAMA, "remote": True, "priority": 1}, OLLAMA, False, "first"),
        (OLLAMA, {**OPENAI, "remote": True, "priority": 1}, True, "first"),
        (OLLAMA, {**OPENAI, "remote": False}, True, "second"),  # it has its model loaded
        (OLLAMA, {**OPENAI, "remote": True}, False, "second"),
    ],
)
def test_the_better_of_two_is_taken(
    first: dict[str, Any], second: dict[str, Any], local_first: bool, chosen: str
) -> None:
    config = Config(
        backends=[Backend(name="first", **first), Backend(name="second", **second)],
        remote_scheduling=RemoteScheduling(local_first_policy=local_first),
    )
    gates = gates_of(config.all_backends, config.remote_scheduling)
    for gate in gates:
        gate.take_probe(ProbeResult(models=frozenset({"m"})))
    route = Route("m")

    gate = gates.choose(gates.lane(route), route, None, 1, 0.0)

    assert gate is not None and gate.name == chosen


def test_a_model_that_is_loaded_otherwise_has_to_be_loaded() -> None:
    config = Config(backends=[Backend(name=name, **OLLAMA) for name in ("first", "second")])
    gates = gates_of(config.all_backends, config.remote_scheduling)
    for gate in gates:
        gate.take_probe(ProbeResult(models=frozenset({"m"})))
        gate.load("m", '{"num_ctx":512}' if gate.name == "second" else "", [])

    def chosen(runner: str) -> str:
        route = Route("m", runner)
        gate = gates.choose(gates.lane(route), route, None, 1, 0.0)
        assert gate is not None
        return gate.name

    assert (chosen(""), chosen('{"num_ctx":512}')) == ("first", "second")
