"""How greenlets give way, and how it is noticed that one did not."""

import logging
import time
from collections.abc import Iterator

import gevent
import pytest

from ollama_queue.http.serving.hub_watch import GAP_S, WORK_S, HubWatch


@pytest.fixture
def watch() -> Iterator[HubWatch]:
    made = HubWatch(time.thread_time)  # a busy machine makes no difference
    yield made
    made.close()


def work(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() <= end:
        pass


def look() -> None:
    """Let the hub look at the network once more, and run what is ready."""
    gevent.sleep(0.001)


def test_yielding_lets_timers_and_the_network_have_their_turn(watch):
    look()
    heard: list[str] = []
    gevent.get_hub().loop.timer(0).start(heard.append, "a timer")

    gevent.sleep(0)
    assert heard == [], "this is why: it runs what is ready, and looks at nothing"
    work(WORK_S * 1.1)
    watch.yield_control()
    assert heard == ["a timer"]


def test_many_that_yield_do_not_add_up(watch):
    look()
    watch.open()

    def long_work() -> None:
        for _ in range(20):
            work(0.001)
            watch.yield_control()

    gevent.joinall([gevent.spawn(long_work) for _ in range(50)])
    look()
    assert watch.longest_gap_ms() < 500, "50 greenlets have a second of work"


def test_a_long_gap_is_told_and_kept(watch, caplog):
    look()
    watch.open()
    work(GAP_S * 1.5)
    look()
    assert watch.longest_gap_ms() >= GAP_S * 1.5e3
    assert watch.gaps >= 1
    assert watch.deaf_s >= GAP_S * 1.5
    work(GAP_S * 1.5)
    look()
    assert watch.gaps >= 2
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "the server answered nobody for" in record.getMessage()


def test_what_takes_long_at_the_start_is_no_gap(watch):
    look()
    work(GAP_S * 1.5)
    look()
    assert (watch.gaps, watch.longest_gap_ms()) == (0, 0.0)
