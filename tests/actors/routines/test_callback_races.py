"""Callbacks while tasks are submitted, end and get lost in every order: each is called once."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from ollama_queue import BatchSubmitted
from ollama_queue.actors.routines import steps
from ollama_queue.actors.routines.awaited import BatchResults
from ollama_queue.actors.routines.callbacks import Callbacks
from ollama_queue.actors.routines.steps import Drive, Routine, Step
from tests.support.simulated_queue import SimulatedQueue


class Interleaved:
    """Routines that go on in turns, as chance has it."""

    def __init__(self, queue: SimulatedQueue) -> None:
        self.queue = queue
        self._under_way: list[tuple[Drive[Any], Step[Any] | None]] = []

    def start(self, routine: Routine[Any]) -> bool:
        drive = Drive(routine)
        self._under_way.append((drive, drive.send(None)))
        return True

    def go_on(self) -> bool:
        """One step of one of them; False when all wait."""
        ready = [each for each in self._under_way if each[1] and self.queue.is_ready(each[1])]
        if not ready:
            return False
        drive, step = self.queue.chance.choice(ready)
        assert step is not None
        self._under_way.remove((drive, step))
        try:
            answer = self.queue.take(step)
        except Exception as error:
            following = drive.throw(error)
        else:
            following = drive.send(answer)
        self._under_way.append((drive, following))
        return True


@given(
    st.integers(0, 2**32 - 1).map(random.Random),
    st.integers(0, 4),
    st.integers(0, 3),
    st.integers(0, 5),
)
@example(random.Random(4), 3, 1, 2)  # one ends between the loss and the next subscription
def test_each_is_called_once(
    chance: random.Random, singles: int, batches: int, trouble: int
) -> None:
    queue = SimulatedQueue(chance, trouble)
    callbacks = Callbacks()
    queue.run(callbacks.begin())
    turns = Interleaved(queue)
    turns.start(callbacks.run())
    called: list[str] = []

    def submit(ids: list[str]) -> Routine[list[str]]:
        """They may end before the answer has come."""
        yield from steps.Invoke(partial(queue.add, *ids))
        for _ in range(3):
            yield from steps.Now()
        return ids

    def submit_batch(name: str, results: BatchResults) -> Routine[list[str]]:
        ids = yield from submit([f"{name}{number}" for number in range(3)])
        return results.of(BatchSubmitted(name, ids))

    starts: list[Callable[[], Routine[Any]]] = []
    for number in range(singles):
        name = f"s{number}"
        starts.append(
            lambda name=name: callbacks.submit(
                submit([name]), lambda result: called.append(result.task_id)
            )
        )
    for number in range(batches):
        name = f"b{number}"
        results = BatchResults(lambda found, name=name: called.append(f"{name}:{len(found)}"))
        starts.append(
            lambda name=name, results=results: callbacks.submit(
                submit_batch(name, results), results
            )
        )
    chance.shuffle(starts)
    acts = [lambda: bool(starts) and turns.start(starts.pop()()), queue.something_happens]
    acts += 3 * [turns.go_on]
    while any(act() for act in chance.sample(acts, len(acts))):
        pass

    singly = [f"s{number}" for number in range(singles)]
    assert sorted(called) == sorted([*singly, *(f"b{number}:3" for number in range(batches))])
    queue.run(callbacks.close())
    while turns.go_on():
        pass
    assert (queue.lines, queue.sources) == ([], [])
