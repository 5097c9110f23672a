"""What is shown is made of what the actors know."""

import pytest

from ollama_queue.actors.api import views
from ollama_queue.actors.core.model.stats import Counts, PlanState, QueueStats

NOW = 1_700_000_000.0


def stats(oldest: float | None) -> QueueStats:
    state = PlanState(0, 1, False, {}, [], oldest)
    return views.stats(Counts(), state, 0.5, NOW, uptime_s=1.0)


@pytest.mark.parametrize(
    ("oldest", "wait"), [(None, None), (NOW - 12.3456, 12.346), (NOW, 0), (NOW + 5, 0)]
)
def test_the_longest_wait_is_counted_from_now(oldest: float | None, wait: float | None) -> None:
    assert stats(oldest).oldest_wait_s == wait


def test_what_waits_for_its_time_is_counted() -> None:
    paused = PlanState(0, 1, True, {"paused": 5}, [], scheduled=3)

    assert views.stats(Counts(), paused, 0.5, NOW, uptime_s=1.0).scheduled == 3
