"""Where a task may run."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ollama_queue.actors.core.routing import RUNNER_OPTIONS, route_key


@pytest.mark.parametrize("model", ["qwen3", "qwen3:latest", " qwen3:latest "])
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


@given(st.dictionaries(st.sampled_from(sorted(RUNNER_OPTIONS)), st.integers(0, 3)), st.randoms())
def test_the_order_of_options_makes_no_route(options: dict[str, int], chance: object) -> None:
    shuffled = list(options.items())
    chance.shuffle(shuffled)  # type: ignore[attr-defined]

    assert route_key("m", options) == route_key("m", dict(shuffled))
