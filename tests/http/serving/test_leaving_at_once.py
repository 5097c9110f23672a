"""When many clients leave at once, others have their steps in between."""

from itertools import pairwise
from typing import Any

import gevent

from ollama_queue.http.serving import disconnects
from ollama_queue.http.serving.disconnects import DisconnectWatcher, Turns

MANY = 50


def test_one_passes_in_each_turn_of_the_loop() -> None:
    turns, passed, seen = Turns(), [], []

    def leave(number: int) -> None:
        turns.wait()
        passed.append(number)

    def watch() -> None:
        while len(passed) < MANY:
            seen.append(len(passed))
            gevent.sleep(disconnects.TURN_S)

    gevent.joinall(
        [gevent.spawn(watch), *(gevent.spawn(leave, n) for n in range(MANY))], timeout=10
    )

    assert sorted(passed) == list(range(MANY))
    assert max(b - a for a, b in pairwise(seen)) <= 2


def test_others_run_between_two_that_have_left(monkeypatch: Any) -> None:
    monkeypatch.setattr(disconnects, "LEAST_S", 0.0)
    monkeypatch.setattr(disconnects, "is_connected", lambda socket: False)
    watcher, left, seen = DisconnectWatcher(lambda: None), [], []

    class Request:
        socket = None

        def client_left(self) -> None:
            left.append(self)
            watcher.forget(self)

    for _ in range(MANY):
        watcher.watch(Request())

    def watch() -> None:
        while len(left) < MANY:
            seen.append(len(left))
            gevent.sleep(disconnects.TURN_S)

    gevent.joinall([gevent.spawn(watch), gevent.spawn(watcher.look)], timeout=10)

    assert len(left) == MANY
    assert max(b - a for a, b in pairwise(seen)) <= 2
