"""The watch over silent model servers: whom it ends, and that its thread comes and goes."""

import os
import queue
import threading
import time

import pytest

from ollama_queue.actors.executors import silence
from ollama_queue.actors.executors.silence import SilenceWatch

PATIENCE_S = 10.0


class Call:
    """Tells of each look."""

    def __init__(self) -> None:
        self.looks: queue.SimpleQueue[float] = queue.SimpleQueue()

    def end_silence(self, now: float) -> None:
        self.looks.put(now)

    def await_look(self) -> float:
        return self.looks.get(timeout=PATIENCE_S)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> SilenceWatch:
    monkeypatch.setattr(silence, "LOOK_S", 0.01)
    return SilenceWatch()


def watchers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "silence"]


def await_end(watcher: threading.Thread) -> None:
    watcher.join(PATIENCE_S)
    assert not watcher.is_alive()


def test_each_running_call_is_looked_at(watch: SilenceWatch) -> None:
    began = time.monotonic()
    calls = [Call(), Call()]
    for call in calls:
        watch.add(call)

    assert all(call.await_look() >= began for call in calls for _ in range(2))
    for call in calls:
        watch.discard(call)


def test_its_thread_ends_with_the_last_call_and_comes_back(watch: SilenceWatch) -> None:
    before = watchers()
    for _ in range(2):
        call = Call()
        watch.add(call)
        call.await_look()
        (watcher,) = [each for each in watchers() if each not in before]
        watch.discard(call)
        await_end(watcher)


def test_many_threads_start_one(watch: SilenceWatch) -> None:
    before, call = watchers(), Call()
    starters = [threading.Thread(target=watch.add, args=(call,)) for _ in range(20)]
    for each in starters:
        each.start()
    for each in starters:
        each.join()

    assert len([each for each in watchers() if each not in before]) == 1
    watch.discard(call)


def test_a_forked_child_has_a_thread_of_its_own(watch: SilenceWatch) -> None:
    watch.add(Call())
    child = os.fork()
    if child == 0:
        watch.forget()
        call = Call()
        watch.add(call)
        try:
            call.await_look()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
