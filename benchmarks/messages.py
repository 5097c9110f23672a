"""How many messages a second do our actors handle, told and asked?"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pykka

from benchmarks.harness import Bench, Sample
from ollama_queue.actors.base.actor import Actor, ask, start, stop, tell

LAST = -1  # the last message: sets `done`


class Ours(Actor):
    """Replies with the message."""

    def __init__(self, done: threading.Event) -> None:
        super().__init__(print)
        self.done = done

    def handle(self, message: int) -> int:
        if message == LAST:
            self.done.set()
        return message


class Bare(pykka.ThreadingActor):
    """The same without our base class."""

    use_daemon_thread = True

    def __init__(self, done: threading.Event) -> None:
        super().__init__()
        self.done = done

    def on_receive(self, message: int) -> int:
        if message == LAST:
            self.done.set()
        return message


class Thread:
    """A thread that reads a queue: the minimum of an actor."""

    def __init__(self, done: threading.Event) -> None:
        self.done = done
        self.inbox: queue.SimpleQueue[tuple[int, queue.SimpleQueue[int] | None] | None]
        self.inbox, self.replies = queue.SimpleQueue(), queue.SimpleQueue[int]()
        threading.Thread(target=self.work, daemon=True).start()

    def work(self) -> None:
        while (sent := self.inbox.get()) is not None:
            message, replies = sent
            if message == LAST:
                self.done.set()
            if replies is not None:
                replies.put(message)

    def tell(self, message: int) -> None:
        self.inbox.put((message, None))

    def ask(self, message: int) -> int:
        self.inbox.put((message, self.replies))
        return self.replies.get()


def measure(bench: Bench) -> None:
    bench.table([(partial(_round, bench.size(50_000, 2_000)), bench.runs)])


def _round(count: int) -> Iterator[Sample]:
    done = threading.Event()
    thread, bare, ours = Thread(done), Bare.start(done), start(Ours, done)
    kinds: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
        "ours": (partial(tell, ours), partial(ask, ours)),
        "raw: pykka": (bare.tell, bare.ask),
        "raw: a thread and a queue": (thread.tell, thread.ask),
    }
    raws = [name for name in kinds if name.startswith("raw")]
    for name, (say, query) in kinds.items():
        against = () if name in raws else raws
        for verb, rate in (("tell", _told(say, done, count)), ("ask", _asked(query, count // 5))):
            figures = {"a second": rate}
            yield Sample(f"{name}, {verb}", figures, tuple(f"{raw}, {verb}" for raw in against))
    thread.inbox.put(None)
    bare.stop()
    stop(ours, 5.0)


def _told(say: Callable[[int], Any], done: threading.Event, count: int) -> float:
    done.clear()
    began = time.perf_counter()
    for number in range(count - 1):
        say(number)
    say(LAST)
    if not done.wait(60):
        raise TimeoutError(f"{count} messages were not taken within 60 s")
    return count / (time.perf_counter() - began)


def _asked(query: Callable[[int], Any], count: int) -> float:
    began = time.perf_counter()
    for number in range(count):
        query(number)
    return count / (time.perf_counter() - began)
