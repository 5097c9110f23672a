"""How long to wait before trying again."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ollama_queue.actors.core.config.config import Config, RetrySettings
from ollama_queue.actors.core.model.errors import Invalid
from ollama_queue.actors.core.plan.backoff import delay, probe_delay

RETRY = RetrySettings(initial_delay=1.0, max_delay=30.0, backoff_factor=2.0)
seconds = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)


@pytest.mark.parametrize(
    ("retry_count", "least", "most"),
    [
        (1, 0.5, 1.0),
        (2, 1.0, 2.0),
        (3, 2.0, 4.0),
        (5, 8.0, 16.0),
        (6, 15.0, 30.0),
        (100, 15.0, 30.0),
    ],
)
def test_it_doubles_up_to_the_longest_and_half_of_it_is_chance(
    retry_count: int, least: float, most: float
) -> None:
    assert delay(RETRY, retry_count, 0.0) == least
    assert delay(RETRY, retry_count, 0.5) == (least + most) / 2
    assert delay(RETRY, retry_count, 1.0) == most


@given(
    st.builds(
        RetrySettings,
        max_retries=st.just(100),
        initial_delay=seconds,
        max_delay=seconds,
        backoff_factor=seconds,
    ),
    st.integers(1, 100),
    st.floats(0, 1),
)
def test_with_any_legal_setting_it_stays_within_bounds(
    retry: RetrySettings, retry_count: int, chance: float
) -> None:
    try:
        Config(retry_config=retry)
    except Invalid:
        return

    assert 0 < delay(retry, retry_count, chance) <= retry.max_delay


def test_a_steep_factor_reaches_the_longest_delay() -> None:
    steep = RetrySettings(max_retries=100, backoff_factor=1e6)
    try:
        Config(retry_config=steep)
    except Invalid as error:
        assert error.field == "retry_config.backoff_factor"
        return

    assert delay(steep, 100, 1.0) == steep.max_delay


def test_a_backend_that_is_out_is_probed_ever_more_seldom() -> None:
    assert [probe_delay(n) for n in (1, 2, 3, 4, 5, 6, 7, 10_000)] == [1, 2, 4, 8, 16, 30, 30, 30]
