"""Each actor ends before and after each of its messages, and the queue goes on.

The messages are read off the actors' unions, so that a new one is covered by itself.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, get_args

import pytest

from ollama_queue import Config, Conflict, QueueManager, Status, TaskFilter, Unavailable, chat_task
from ollama_queue.actors import prober
from ollama_queue.actors.actor import Actor, Ref, tell
from ollama_queue.actors.core import config, messages, plan
from ollama_queue.actors.core.records import Event, Submitted
from ollama_queue.actors.cron_ticker import CronTicker
from ollama_queue.actors.event_bus import EventBus
from ollama_queue.actors.executors import create_executor
from ollama_queue.actors.persistence import Persistence
from ollama_queue.actors.pool import ThreadPool
from ollama_queue.actors.prober import Prober
from ollama_queue.actors.scheduler import Scheduler
from ollama_queue.actors.switchboard import Generation
from ollama_queue.actors.system import MAX_REBOOTS, Runtime
from ollama_queue.actors.worker import Worker
from tests.fakes import Answer, Behaviour, FakeOllama, Stream

T = TypeVar("T")
PATIENCE_S = 10.0

TAKES = {
    EventBus: messages.ToEventBus,
    Persistence: messages.ToPersistence,
    Scheduler: messages.ToScheduler,
    Worker: messages.ToWorker,
    CronTicker: messages.ToCronTicker,
    Prober: messages.ToProber,
}
CASES = [
    pytest.param(actor, kind, moment, id=f"{actor.__name__}-{moment}-{kind.__name__}")
    for actor, union in TAKES.items()
    for kind in get_args(union) or (union,)
    for moment in ("before", "after")
]
# What the load does not bring about is sent by hand.
BY_HAND = {
    messages.Wake: messages.Wake(),
    messages.Farewell: messages.Farewell("restarted"),
    messages.Recover: messages.Recover(),
    messages.WorkerLost: messages.WorkerLost(0, 0, "by hand"),
    messages.Drain: messages.Drain(0.0),
}

FINAL = {
    "well": {Status.COMPLETED},
    "bad": {Status.FAILED},
    "out": {Status.COMPLETED},
    "cancel": {Status.CANCELLED, Status.COMPLETED},
    "stream": {Status.COMPLETED},
}


class Crash(Exception):
    """A mistake of ours, made on purpose."""


class Fuse:
    """Ends an actor at its first message of a kind, once it is armed; keeps who was seen."""

    def __init__(self, actor: type[Actor], kind: type, moment: str) -> None:
        self.actor, self.kind, self.moment = actor, kind, moment
        self.armed = threading.Event()
        self.burnt = threading.Event()
        self.refs: list[Ref] = []

    def install(self, patch: pytest.MonkeyPatch) -> None:
        on_start, handle = self.actor.on_start, self.actor.handle

        def watched_start(actor: Any) -> None:
            self.refs.append(actor.actor_ref)
            on_start(actor)

        def watched_handle(actor: Any, message: Any) -> Any:
            if type(message) is not self.kind or not self.armed.is_set() or self.burnt.is_set():
                return handle(actor, message)
            self.burnt.set()
            if self.moment == "after":
                handle(actor, message)
            raise Crash(f"{self.moment} {self.kind.__name__}")

        patch.setattr(self.actor, "on_start", watched_start)
        patch.setattr(self.actor, "handle", watched_handle)


class Ends:
    """Counts the ends of each task among the events, all of which are on disk."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count: Counter[str] = Counter()
        publish = EventBus.publish

        def watched(bus: EventBus, events: tuple[Event, ...]) -> None:
            ended = [e.task.id for e in events if e.task is not None and e.task.status.is_final]
            self.count.update(ended)
            publish(bus, events)

        patch.setattr(EventBus, "publish", watched)


class House:
    """A queue, its model server, and a user who tries again when the queue restarts."""

    def __init__(self, folder: Path) -> None:
        self.fake = FakeOllama(self.behave)
        self.gates = {"out": threading.Event(), "stream": threading.Event()}
        self.refused = threading.Event()
        self.fatal: Future[str] = Future()
        self.kinds: dict[str, str] = {}
        settings = Config(
            ollama=config.Ollama(host=self.fake.url),
            queue=config.Queue(storage_path=str(folder), max_workers=3),
            retry_config=config.Retry(initial_delay=0.01, max_delay=0.02),
        )
        pools = lambda: (ThreadPool("sync"), ThreadPool("scan"))  # noqa: E731
        runtime = Runtime(pools, create_executor, self.fatal.set_result)
        self.queue = QueueManager(settings, runtime=runtime).start()

    def behave(self, body: dict[str, Any]) -> Behaviour:
        match body["messages"][-1]["content"]:
            case "bad":
                return Answer(400, {"error": "this model cannot do that"})
            case "out" if not self.refused.is_set():
                self.refused.set()
                return Answer(503, {"error": "the model is loading"})
            case "stream":
                return Stream(gate=self.gates["stream"])
            case _:
                return Stream()

    def close(self) -> None:
        self.gates["stream"].set()
        self.queue.close(grace_s=0)
        self.fake.refuse()

    def generation(self) -> Generation | None:
        with suppress(Unavailable):
            return self.queue._switchboard.current()
        return None

    def surely(self, verb: Callable[[], T]) -> T:
        """What the verb answers, asked again each time the queue restarts."""
        while True:
            before: Any = self.generation()
            try:
                return verb()
            except Unavailable:
                self.queue._switchboard.after(before, PATIENCE_S)

    def submit(self, kind: str, **fields: Any) -> str:
        new = chat_task("smollm2", [{"role": "user", "content": kind}], **fields)
        key = f"{kind} {len(self.kinds)}"
        taken: Submitted = self.surely(lambda: self.queue.submit(new, idempotency_key=key))
        self.kinds[taken.task_id] = kind
        return taken.task_id

    def cancel(self, task_id: str) -> None:
        with suppress(Conflict):  # it has ended, perhaps by the same word before a restart
            self.surely(lambda: self.queue.cancel_task(task_id))


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    logging.getLogger("ollama_queue").setLevel(logging.CRITICAL + 1)
    for module in (plan, prober):
        monkeypatch.setattr(module, "probe_delay", lambda *_: 0.01)
    made = House(tmp_path / "data")
    yield made
    made.close()
    logging.getLogger("ollama_queue").setLevel(logging.NOTSET)
