"""When many clients leave at once, others have their steps in between."""

from itertools import pairwise

import gevent

from ollama_queue.http.serving import disconnects
from ollama_queue.http.serving.disconnects import Turns

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
