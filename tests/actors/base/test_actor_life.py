"""The base class: how an actor stops, and how it keeps time."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import Any

import pykka
import pytest

from ollama_queue.actors.base.actor import Ref, ask, start, stop, tell
from ollama_queue.actors.core.messages import Wake
from ollama_queue.actors.core.model.errors import QueueError, Unavailable
from tests.support.recorders import PATIENCE_S, asked
from tests.support.scripted_actor import Puppet, hold
from tests.support.servers.real_models import ROOT


@pytest.fixture
def reports() -> Queue[str]:
    return Queue()


@pytest.fixture
def puppet(reports: Queue[str]) -> Iterator[Ref]:
    ref = start(Puppet, reports.put, Queue())
    yield ref
    stop(ref, PATIENCE_S)


# --- stopping -----------------------------------------------------------------------------------


def test_stopping_reads_the_mail_before_it_and_refuses_what_comes_after(
    reports: Queue[str],
) -> None:
    ref = start(Puppet, reports.put)
    gate = threading.Event()
    held = asked(ref, hold)
    tell(ref, lambda me: gate.wait(PATIENCE_S))
    before = asked(ref, lambda me: "read")
    gate.set()

    assert stop(ref, PATIENCE_S)
    assert stop(ref, PATIENCE_S)  # once more does no harm
    assert before.get(timeout=PATIENCE_S) == "read"
    for promise in (held, asked(ref, lambda me: "never")):
        with pytest.raises(Unavailable, match="stopped"):
            promise.get(timeout=PATIENCE_S)
    assert reports.empty()


def test_an_actor_that_hangs_is_not_waited_for(puppet: Ref) -> None:
    gate = threading.Event()
    tell(puppet, lambda me: gate.wait(PATIENCE_S))

    assert not stop(puppet, 0.01)
    gate.set()


def test_no_question_hangs_when_it_meets_a_stop() -> None:
    endings = set()

    def keep_asking(ref: Ref) -> None:
        try:
            while True:
                ask(ref, lambda me: 1, timeout=PATIENCE_S)
        except QueueError as error:
            endings.add(error.message)

    with ThreadPoolExecutor(10) as threads:
        for _ in range(150):
            ref = start(Puppet, lambda text: None)
            asking = [threads.submit(keep_asking, ref) for _ in range(7)]
            stopping = [threads.submit(stop, ref, PATIENCE_S) for _ in range(3)]
            assert all(job.result(PATIENCE_S) for job in stopping)
            for job in asking:
                job.result(PATIENCE_S * 2)

    assert endings == {"the queue is stopped"}


def test_the_registry_of_a_host_program_is_left_alone(puppet: Ref) -> None:
    host = pykka.ThreadingActor.start()

    assert pykka.ActorRegistry.get_all() == [host]
    pykka.ActorRegistry.stop_all()

    assert not host.is_alive()
    assert ask(puppet, lambda me: "alive") == "alive"


def test_a_program_that_does_not_close_its_queue_ends_at_once(tmp_path: Any) -> None:
    program = f"""
from ollama_queue import Config, QueueManager, generate_task
from ollama_queue.actors.core.config.config import OllamaSettings, QueueSettings

nobody = OllamaSettings(host="http://127.0.0.1:9")
folder = QueueSettings(storage_path={str(tmp_path)!r})
queue = QueueManager(Config(ollama=nobody, queue=folder)).start()
print(queue.submit_task(generate_task("m", "hi")))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=ROOT, text=True, timeout=20
    )

    assert (ended.returncode, len(ended.stdout.strip())) == (0, 36), ended.stderr


# --- time ---------------------------------------------------------------------------------------


def test_only_an_earlier_due_counts_and_it_takes_no_thread(puppet: Ref) -> None:
    wakes, before = ask(puppet, lambda me: me.wakes), threading.active_count()
    now = time.monotonic()

    ask(puppet, lambda me: me.wake_at(now + 1000))
    ask(puppet, lambda me: me.wake_at(now))
    ask(puppet, lambda me: me.wake_at(now + 2000))
    ask(puppet, lambda me: me.wake_at(None))

    assert wakes.get(timeout=PATIENCE_S) == Wake()
    assert ask(puppet, lambda me: wakes.empty())
    assert threading.active_count() == before


def test_mail_that_never_ends_holds_no_wake_up(puppet: Ref) -> None:
    wakes = ask(puppet, lambda me: me.wakes)

    def go_on(me: Any) -> None:
        if wakes.empty():
            tell(puppet, go_on)

    ask(puppet, lambda me: me.wake_at(time.monotonic() + 0.05))
    tell(puppet, go_on)

    assert wakes.get(timeout=PATIENCE_S) == Wake()


def test_after_a_wake_the_next_due_arms_again(puppet: Ref) -> None:
    wakes = ask(puppet, lambda me: me.wakes)

    for _ in range(3):
        ask(puppet, lambda me: me.wake_at(time.monotonic()))
        assert wakes.get(timeout=PATIENCE_S) == Wake()
