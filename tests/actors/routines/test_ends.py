"""Waiting for many ends, whatever happens meanwhile: each result once, and all of them."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_queue import BatchSubmitted, BatchTimeout, Unavailable
from ollama_queue.actors.base.mailbox import Closed
from ollama_queue.actors.routines import ends, steps
from ollama_queue.actors.routines.outage import OUTAGE_PATIENCE_S
from ollama_queue.actors.routines.steps import Routine, Source
from tests.support.simulated_queue import SimulatedMailbox, SimulatedQueue, delivered

chances = st.integers(0, 2**32 - 1).map(random.Random)
counts = st.integers(0, 8)
troubles = st.integers(0, 6)


def names(count: int) -> list[str]:
    return [f"t{number}" for number in range(count)]


@given(chances, counts, troubles)
def test_each_result_comes_once(chance: random.Random, count: int, trouble: int) -> None:
    queue = SimulatedQueue(chance, trouble)
    ids = queue.add(*names(count))
    queue.add("of another")
    results = [result.task_id for result in queue.play(ends.as_completed(ids, None, 0.0))]

    assert sorted(results) == ids
    assert queue.sources == []


@given(chances, st.integers(1, 8), troubles)
def test_a_batch_comes_whole_and_in_its_order(
    chance: random.Random, count: int, trouble: int
) -> None:
    queue = SimulatedQueue(chance, trouble)
    ids = queue.add(*names(count))
    told: list[tuple[int, int]] = []
    progress = ends.wait_batch(BatchSubmitted("b", ids), None, lambda *done: told.append(done))

    results = queue.run(progress)

    assert [result.task_id for result in results] == ids
    assert told[-1] == (count, count)
    assert queue.sources == []


@given(chances, st.integers(1, 8))
def test_left_early_it_leaves_nothing_behind(chance: random.Random, count: int) -> None:
    queue = SimulatedQueue(chance, 3)
    results = queue.play(ends.as_completed(queue.add(*names(count)), None, 0.0))
    next(results)
    results.close()

    assert queue.sources == []


def last_words(routine: Routine[Any], reason: str, clock: float = 0.0) -> tuple[Any, float]:
    """What a routine raises whose queue is lost again and again, and when."""

    def take(step: steps.Step[Any]) -> Any:
        nonlocal clock
        match step:
            case steps.Now():
                return clock
            case steps.Sleep():
                clock += step.seconds
                return None
            case steps.Listen():
                return Source(SimulatedMailbox(), lambda: None)
            case steps.ReadTask() | steps.ReadPage():
                raise Unavailable("away")
            case steps.Receive():
                raise Closed(reason)
        return None

    with pytest.raises((Unavailable, TimeoutError)) as raised:
        list(delivered(routine, take))
    return raised.value, clock


MADE = BatchSubmitted("b", ["t0", "t1"])


def test_a_queue_that_stays_away_ends_the_wait() -> None:
    error, clock = last_words(ends.wait_batch(MADE, None, None), "restarted")

    assert (error.message, error.batch_id, error.task_ids) == ("away", "b", ["t0", "t1"])
    assert OUTAGE_PATIENCE_S <= clock <= OUTAGE_PATIENCE_S + 1


def test_a_queue_that_is_away_for_all_of_the_time() -> None:
    error, clock = last_words(ends.as_completed(["t0"], 2.0, 0.0), "restarted")

    assert (error.message, clock) == ("away", pytest.approx(2.0, abs=0.3))


def test_progress_that_fails_is_no_loss_of_the_queue() -> None:
    def on_progress(done: int, total: int) -> None:
        raise Unavailable("of the caller's own")

    queue = SimulatedQueue(random.Random(1), 0)
    queue.add(*MADE.task_ids)
    with pytest.raises(Unavailable, match="of the caller's own"):
        queue.run(ends.wait_batch(MADE, None, on_progress))
    assert (queue.now, queue.sources) == (0.0, [])


def test_late_is_told_with_the_batch() -> None:
    queue = SimulatedQueue(random.Random(1), 0)
    queue.add(*MADE.task_ids)

    def take(step: steps.Step[Any]) -> Any:
        if isinstance(step, steps.Receive):
            assert step.timeout == 3.0
            raise TimeoutError
        return queue.take(step)

    with pytest.raises(BatchTimeout, match="2 of 2 tasks have not ended within 3 s") as raised:
        list(delivered(ends.wait_batch(MADE, 3.0, None), take))
    assert raised.value.task_ids == MADE.task_ids
