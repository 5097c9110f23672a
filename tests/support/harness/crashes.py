"""A queue whose actors crash on purpose, its model server, and a client that retries."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from ollama_queue import (
    Batch,
    Config,
    Conflict,
    NotFound,
    QueueError,
    QueueManager,
    TaskFilter,
    Unavailable,
    chat_task,
)
from ollama_queue.actors.base.actor import Actor, Ref
from ollama_queue.actors.base.thread_pool import ThreadPool
from ollama_queue.actors.core.config import config
from ollama_queue.actors.core.messages import Publish
from ollama_queue.actors.core.model.event_names import ENDS
from ollama_queue.actors.event_bus import EventBus
from ollama_queue.actors.executors import create_executor
from ollama_queue.actors.supervision.generation import Runtime
from ollama_queue.actors.supervision.switchboard import Generation
from tests.support.fakes.behaviours import WORDS
from tests.support.fakes.model_server import Answer, Behaviour, FakeOllama, Stream

T = TypeVar("T")
PATIENCE_S = 10.0


class Crash(Exception):
    """A deliberate crash."""


class Fuse:
    """Once armed, crashes an actor at its first message of a kind; `refs` are all actors seen."""

    def __init__(self, actor: type[Actor], kind: type, moment: str) -> None:
        self.actor, self.kind, self.moment = actor, kind, moment
        self.armed, self.burnt = threading.Event(), threading.Event()
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
                with suppress(QueueError):
                    handle(actor, message)
            raise Crash(f"{self.moment} {self.kind.__name__}")

        patch.setattr(self.actor, "on_start", watched_start)
        patch.setattr(self.actor, "handle", watched_handle)


def count_ends(patch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often each task ends, by the events that reach the bus: all of them are on disk."""
    ends: Counter[str] = Counter()
    handle = EventBus.handle

    def watched(bus: EventBus, message: Any) -> Any:
        if isinstance(message, Publish):
            ended = [event.task for event in message.events if event.event in ENDS]
            ends.update(task.id for task in ended if task is not None)
        return handle(bus, message)

    patch.setattr(EventBus, "handle", watched)
    return ends


class CrashHarness:
    """The queue and its environment; `kinds` are the accepted tasks and the kind of each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fake = FakeOllama(self.behave)
        self.gate, self.refused, self.hangs = (threading.Event() for _ in range(3))
        self.fatal: Future[str] = Future()
        self.kinds: dict[str, str] = {}
        settings = Config(
            ollama=config.OllamaSettings(host=self.fake.url),
            queue=config.QueueSettings(storage_path=str(folder), max_workers=3),
            retry_config=config.RetrySettings(initial_delay=0.01, max_delay=0.02),
        )
        runtime = Runtime(
            pools=lambda: (ThreadPool("sync"), ThreadPool("scan")),
            make_executor=create_executor,
            on_fatal=self.fatal.set_result,
        )
        self.queue = QueueManager(settings, runtime=runtime)
        self.retries = 0  # requested; one whose answer was lost may have been carried out

    def retry(self, task_id: str) -> None:
        self.retries += 1
        self.queue.retry_task(task_id)

    def behave(self, body: dict[str, Any]) -> Behaviour:
        match body["messages"][-1]["content"]:
            case "bad":
                return Answer(400, {"error": "this model cannot do that"})
            case "out" if not self.refused.is_set():
                self.refused.set()
                return Answer(503, {"error": "the model is loading"})
            case "stream":
                return Stream(gate=self.gate)
            case "hang":
                self.hangs.set()
                return Stream(then="hang")
            case _:
                return Stream()

    def close(self) -> None:
        self.gate.set()
        self.queue.close(grace_s=0)
        self.fake.refuse()

    def generation(self) -> Generation | None:
        with suppress(Unavailable):
            return self.queue._switchboard.current()
        return None

    def rebooted(self, before: Generation | None) -> Generation:
        old: Any = before
        return self.queue._switchboard.after(old, PATIENCE_S)

    def surely(self, verb: Callable[[], T]) -> T:
        """The verb's answer, retried each time the queue restarts."""
        while True:
            before = self.generation()
            try:
                return verb()
            except Unavailable:
                self.rebooted(before)

    def perhaps(self, verb: Callable[[], Any]) -> None:
        """As `surely`, if an earlier try whose answer was lost may already have succeeded."""
        with suppress(Conflict, NotFound):
            self.surely(verb)

    def submit(self, kind: str, **fields: Any) -> str:
        new = chat_task("smollm2", [{"role": "user", "content": kind}], **fields)
        key = f"{kind} {len(self.kinds)}"
        taken = self.surely(lambda: self.queue.submit(new, idempotency_key=key))
        self.kinds[taken.task_id] = kind
        return taken.task_id

    def wait(self, task_id: str) -> None:
        self.surely(lambda: self.queue.wait(task_id, timeout=PATIENCE_S))

    def read(self, task_id: str) -> str:
        """The text of a streamed reply, after its last restart."""
        text = ""
        for chunk in self.queue.stream_task(task_id, timeout=PATIENCE_S):
            if chunk.restart:
                text = ""
            if chunk.data is not None:
                text += chunk.data["message"]["content"]
        return text


def use(house: CrashHarness) -> None:
    """Use the queue in every way; returns when all tasks have ended."""
    queue, surely = house.queue, house.surely
    with ThreadPoolExecutor(1) as thread:
        streamed = house.submit("stream")
        reading = thread.submit(surely, lambda: house.read(streamed))
        first, bad = house.submit("well"), house.submit("bad")
        house.submit("out")
        _stop_one(house)
        _rearrange(house)
        _submit_together(house)
        _submit_file(house)
        surely(lambda: queue.list_tasks(TaskFilter(limit=5)))
        surely(queue.get_queue_stats)
        surely(queue.get_history)
        surely(queue.probe_backends)
        surely(lambda: queue.call_backends(["ollama"], "/api/ps"))
        surely(lambda: queue.drain_backend("ollama"))
        surely(lambda: queue.resume_backend("ollama"))
        house.perhaps(lambda: queue.get_task("unknown"))
        house.wait(bad)
        house.perhaps(lambda: house.retry(bad))
        house.wait(first)
        house.perhaps(lambda: queue.cancel_task(first))
        house.perhaps(lambda: queue.delete_task(first))
        house.kinds[first] = "gone"
        house.gate.set()
        assert reading.result(PATIENCE_S) == "".join(WORDS)
    for task_id, kind in house.kinds.items():
        if kind != "gone":
            house.wait(task_id)


def _submit_together(house: CrashHarness) -> None:
    queue, tasks = house.queue, [chat_task("smollm2", [{"role": "user", "content": "well"}])] * 3
    made, again = (
        house.surely(lambda: queue.submit_batch(tasks, idempotency_key="batch")) for _ in range(2)
    )
    assert again.task_ids == made.task_ids
    house.kinds |= dict.fromkeys(made.task_ids, "well")
    assert house.surely(lambda: queue.get_batch(made.batch_id)).total == 3
    assert len(house.surely(queue.list_batches)) == 1


def _submit_file(house: CrashHarness) -> None:
    """Two batches from one file, one of them cancelled; each may have been created twice."""
    queue, surely = house.queue, house.surely
    url, text = "/v1/chat/completions", {"role": "user", "content": "well"}
    body = {"model": "smollm2", "messages": [text]}
    lines = [{"custom_id": str(n), "method": "POST", "url": url, "body": body} for n in range(2)]

    def save() -> str:
        with queue.new_file() as file:
            file.write(b"\n".join(map(msgspec.json.encode, lines)))
            return file.save("a.jsonl", "batch").id

    def ended() -> list[Batch]:
        batches = surely(lambda: queue.list_jobs(10))
        while not all(batch.is_settled for batch in batches):
            batches = surely(lambda: queue.list_jobs(10))
        return batches

    kept, spare = surely(save), surely(save)
    fields = {"input_file_id": kept, "endpoint": url, "completion_window": "1h"}
    surely(lambda: queue.create_batch(fields, idempotency_key="job"))
    ended()
    surely(queue.pause)
    cancelled = surely(lambda: queue.create_batch(fields)).id
    while not surely(lambda: queue.get_batch(cancelled)).total:
        pass
    house.perhaps(lambda: queue.cancel_job(cancelled))
    surely(queue.resume)
    for batch in ended():
        page = surely(partial(queue.list_tasks, {"batch_id": batch.id}))
        house.kinds |= dict.fromkeys((task.id for task in page), "line")
        assert batch.job is not None
        assert batch.job.answered + batch.cancelled == batch.total
    assert surely(lambda: queue.get_file(kept)).size
    assert len(surely(lambda: queue.list_files(10)).files) >= 3
    house.perhaps(lambda: queue.delete_file(spare))


def _stop_one(house: CrashHarness) -> None:
    hanging = house.submit("hang")
    assert house.hangs.wait(PATIENCE_S)
    house.perhaps(lambda: house.queue.cancel_task(hanging))


def _rearrange(house: CrashHarness) -> None:
    """While paused, cancel a waiting task and move another one ahead."""
    house.surely(house.queue.pause)
    waiting, last = house.submit("cancel"), house.submit("well")
    house.perhaps(lambda: house.queue.cancel_task(waiting))
    house.perhaps(lambda: house.queue.update_task_priority(last, "high"))
    house.surely(lambda: house.queue.get_task(last))
    house.surely(house.queue.resume)
