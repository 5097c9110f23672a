"""A simulated queue that takes the steps of routines at random: events arrive, get lost or repeat,
the queue goes down and comes back. No thread, no clock, no waiting."""

import random
from collections import deque
from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any

from ollama_queue import NotFound, Status, Task, TaskFilter, TaskPage, TaskType, Unavailable
from ollama_queue.actors.base.mailbox import Closed
from ollama_queue.actors.routines import steps
from ollama_queue.actors.routines.steps import Drive, Routine, Source, Step
from tests.support.recorders import START

PAGE = 3


def delivered(routine: Routine[Any], take: Callable[[Any], Any]) -> Generator[Any, None, Any]:
    """Yield what a routine delivers, taking its other steps with `take`; returns its result."""
    drive, answer = Drive(routine), None
    step = drive.send(None)
    while step is not None:
        try:
            if isinstance(step, steps.Deliver):
                yield step.item
            else:
                answer = take(step)
        except BaseException as error:
            step = drive.throw(error)
        else:
            step = drive.send(answer)
    return drive.result


class SimulatedMailbox:
    def __init__(self) -> None:
        self.items: deque[Any] = deque()
        self.reason: str | None = None

    def put(self, item: Any) -> bool:
        if self.reason is None:
            self.items.append(item)
        return self.reason is None

    def close(self, reason: str) -> None:
        self.reason = self.reason or reason


class SimulatedQueue:
    """`chance` decides what happens; at most `trouble` losses and duplicates occur."""

    def __init__(self, chance: random.Random, trouble: int) -> None:
        self.chance, self.trouble = chance, trouble
        self.statuses: dict[str, Status] = {}
        self.ended: list[str] = []
        self.now = 0.0
        self.sources: list[Source] = []  # subscribed
        self.called: list[tuple[str, Any]] = []
        self.lines: list[str] = []

    # --- what happens in it ---------------------------------------------------------------------

    def add(self, *ids: str) -> list[str]:
        self.statuses |= dict.fromkeys(ids, Status.RUNNING)
        return list(ids)

    def end_one(self) -> bool:
        """End a running task; False if there is none."""
        running = [each for each, status in self.statuses.items() if not status.is_final]
        if not running:
            return False
        task_id = self.chance.choice(running)
        self.statuses[task_id] = self.chance.choice([Status.COMPLETED, Status.FAILED])
        self.ended.append(task_id)
        self._tell(task_id)
        return True

    def something_happens(self) -> bool:
        """Let one random thing happen; False if nothing can."""
        if self.trouble and self.chance.random() < 0.3:
            self.trouble -= 1
            self.chance.choice([self.lose, self._repeat, self._delete])()
            return True
        return self.end_one()

    def lose(self) -> None:
        """Lose events in transit, and all events until the next subscription."""
        for source in self.sources:
            kept = self.chance.randint(0, len(source.mailbox.items))
            source.mailbox.items = deque(list(source.mailbox.items)[:kept])
            source.mailbox.close(self.chance.choice(["restarted", "lagged"]))
        while self.chance.random() < 0.5 and self.end_one():
            pass

    def _repeat(self) -> None:
        if self.ended:
            self._tell(self.chance.choice(self.ended))

    def _delete(self) -> None:
        """Delete an ended task."""
        if self.ended and (task_id := self.chance.choice(self.ended)) in self.statuses:
            del self.statuses[task_id]

    def _tell(self, task_id: str) -> None:
        for source in self.sources:
            source.mailbox.put(SimpleNamespace(task=SimpleNamespace(id=task_id)))

    # --- taking steps ---------------------------------------------------------------------------

    def play(self, routine: Routine[Any]) -> Generator[Any, None, Any]:
        """Yield what the routine delivers, while random things happen."""
        return (yield from delivered(routine, self._live_through))

    def run(self, routine: Routine[Any]) -> Any:
        """The result of a routine that delivers nothing."""
        try:
            next(self.play(routine))
        except StopIteration as end:
            return end.value
        raise AssertionError("it delivers something")

    def _live_through(self, step: Step[Any]) -> Any:
        if self.chance.random() < 0.3:
            self.something_happens()
        while not self.is_ready(step) and self.something_happens():
            pass
        assert self.is_ready(step), "it waits for what has happened"
        return self.take(step)

    @staticmethod
    def is_ready(step: Step[Any]) -> bool:
        """Whether the step can be taken now."""
        if not isinstance(step, steps.Receive):
            return True
        mailbox = step.source.mailbox
        return bool(mailbox.items) or mailbox.reason is not None

    def take(self, step: Step[Any]) -> Any:
        match step:
            case steps.Now():
                return self.now
            case steps.Sleep():
                self.now += step.seconds
            case steps.Log():
                self.lines.append(step.words % step.values)
            case steps.Invoke():
                return step.function()
            case steps.CallBack():
                self.called.append((step.task_id, step.function()))
            case steps.Listen():
                mailbox = SimulatedMailbox()
                source = Source(mailbox, lambda: None)
                self.sources.append(source)
                return source
            case steps.Receive():
                mailbox = step.source.mailbox
                if not mailbox.items:
                    raise Closed(mailbox.reason)
                return mailbox.items.popleft()
            case steps.Release():
                self.sources = [each for each in self.sources if each is not step.source]
            case steps.ReadTask():
                self._may_be_away()
                return self._task(step.task_id)
            case steps.ReadPage():
                self._may_be_away()
                return self._page(step.filter)
            case _:
                raise AssertionError(f"no routine here takes {step}")
        return None

    def _may_be_away(self) -> None:
        if self.trouble and self.chance.random() < 0.1:
            self.trouble -= 1
            raise Unavailable("away")

    def _task(self, task_id: str) -> Task:
        if task_id not in self.statuses:
            raise NotFound(f"there is no task {task_id}")
        status = self.statuses[task_id]
        return Task(
            id=task_id,
            type=TaskType.EMBED,
            model="m",
            priority=5,
            status=status,
            created_at=START,
            queued_at=START,
            max_retries=3,
            result=task_id if status is Status.COMPLETED else None,
        )

    def _page(self, wanted: TaskFilter) -> TaskPage:
        ids = sorted(self.statuses, reverse=True)
        start = int(wanted.cursor or 0)
        more = start + PAGE < len(ids)
        tasks = [self._task(each) for each in ids[start : start + PAGE]]
        return TaskPage(tasks, str(start + PAGE) if more else None)
