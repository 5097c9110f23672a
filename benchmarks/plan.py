"""How many decisions a second does the plan make, and does their cost grow with the backlog?"""

import bisect
import gc
import heapq
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks.harness import Bench, Sample
from ollama_queue.actors.core.config.config import (
    RemoteScheduling,
    RetrySettings,
    SchedulerSettings,
)
from ollama_queue.actors.core.intake.submission import chat_task, draft
from ollama_queue.actors.core.messages import Submit
from ollama_queue.actors.core.model.ids import mint
from ollama_queue.actors.core.model.orders import Run
from ollama_queue.actors.core.model.outcomes import Answered
from ollama_queue.actors.core.plan.explain import explain
from ollama_queue.actors.core.plan.plan import Plan
from ollama_queue.actors.core.routing.gates import Gate
from ollama_queue.actors.core.routing.placement import Gates

SLOTS = 4
BLOCK = 100  # decisions of one kind between two clock reads
ANSWERED = Answered(b'{"done":true}')
MESSAGES = [{"role": "user", "content": "Why is the sky blue? " * 12}]
ASKED: list[Submit] = [
    draft(chat_task(f"model-{model}", MESSAGES, priority=priority))
    for model in range(4)
    for priority in range(1, 16)
]
LIMITS = {
    "submit": "heappush",
    "finish": "heappop",
    "cancel": "del in a list",
    "position": "bisect",
}

Item = tuple[int, float, str]


class Busy:
    """A plan with all slots busy and `waiting` tasks waiting."""

    def __init__(self, waiting: int) -> None:
        self.chance = random.Random(waiting)
        gates = Gates([Gate("stub", "ollama", SLOTS)], RemoteScheduling())
        self.plan = Plan(
            slots=SLOTS, gates=gates, retry=RetrySettings(), scheduler=SchedulerSettings()
        )
        self.us = 1_790_000_000_000_000
        self.run: Run | None = None
        for task_id in self.new_ids(waiting + SLOTS):
            self.submit(task_id)

    def new_ids(self, count: int) -> list[str]:
        self.us += count
        return [mint(self.us - n, self.chance.getrandbits(62)) for n in range(count, 0, -1)]

    def waiting_ids(self) -> list[str]:
        waiting = [each for each in self.plan.entries if self.plan.slots.running(each) is None]
        return self.chance.sample(waiting, BLOCK)

    def submit(self, task_id: str) -> None:
        orders = self.plan.submit(task_id, ASKED[self.us % len(ASKED)], self.us / 1e6)
        self.us += 1
        if isinstance(orders[-1], Run):
            self.run = orders[-1]

    def finish(self, _: Any) -> None:
        run = self.run
        assert run is not None
        now = self.us / 1e6
        orders = self.plan.finished(run.slot, run.task_id, run.attempt, ANSWERED, now, 0.5)
        assert isinstance(orders[-1], Run)
        self.run = orders[-1]

    def cancel(self, task_id: str) -> None:
        self.plan.cancel(task_id, self.us / 1e6)

    def position(self, task_id: str) -> None:
        explain(self.plan, (task_id,), self.us / 1e6)


class Bare:
    """The same on a heap, and on a sorted list where a heap does not suffice."""

    def __init__(self, waiting: int) -> None:
        self.chance = random.Random(waiting)
        self.heap = [self.new_item() for _ in range(waiting)]
        heapq.heapify(self.heap)
        self.ordered = sorted(self.heap)

    def new_item(self) -> Item:
        return (-self.chance.randint(1, 15), self.chance.random(), f"{self.chance.random()}")

    def push(self, item: Item) -> None:
        heapq.heappush(self.heap, item)

    def pop(self, _: Any) -> None:
        heapq.heappop(self.heap)

    def find(self, item: Item) -> None:
        bisect.bisect_left(self.ordered, item)

    def remove(self, item: Item) -> None:
        del self.ordered[bisect.bisect_left(self.ordered, item)]


def measure(bench: Bench) -> None:
    for waiting in (1_000, bench.size(100_000, 5_000)):
        ours, raw = Busy(waiting), Bare(waiting)
        gc.collect()
        gc.freeze()  # as the server does after its boot
        rounds = partial(_round, ours, raw, bench.size(5_000, 200), waiting)
        bench.table([(rounds, bench.runs)])


def _round(ours: Busy, raw: Bare, decisions: int, waiting: int) -> Iterator[Sample]:
    spent: defaultdict[str, float] = defaultdict(float)
    for _ in range(decisions // BLOCK):
        _block(ours, raw, spent)
    rate = {name: decisions // BLOCK * BLOCK / seconds for name, seconds in spent.items()}
    for name, limit in LIMITS.items():
        raw_name = f"raw: {limit}, {waiting:,} waiting"
        yield Sample(f"{name}, {waiting:,} waiting", {"a second": rate[name]}, (raw_name,))
        yield Sample(raw_name, {"a second": rate[limit]})


def _block(ours: Busy, raw: Bare, spent: defaultdict[str, float]) -> None:
    """`BLOCK` decisions of each kind, which leave the number of waiting tasks unchanged."""
    items = [raw.new_item() for _ in range(BLOCK)]
    spent["heappush"] += _time(raw.push, items)
    spent["heappop"] += _time(raw.pop, items)
    picked = raw.chance.sample(raw.ordered, BLOCK)
    spent["bisect"] += _time(raw.find, picked)
    spent["del in a list"] += _time(raw.remove, picked)
    raw.ordered = sorted([*raw.ordered, *items])
    spent["submit"] += _time(ours.submit, ours.new_ids(BLOCK))
    spent["finish"] += _time(ours.finish, items)
    spent["position"] += _time(ours.position, ours.waiting_ids())
    spent["cancel"] += _time(ours.cancel, ours.waiting_ids())
    for task_id in ours.new_ids(BLOCK):
        ours.submit(task_id)


def _time(decide: Callable[[Any], None], what: list[Any]) -> float:
    began = time.perf_counter()
    for each in what:
        decide(each)
    return time.perf_counter() - began
