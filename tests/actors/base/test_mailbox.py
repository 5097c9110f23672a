"""The mailbox between the event bus and one door."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ollama_queue.actors.base import mailbox as mailbox_module
from ollama_queue.actors.base.mailbox import Closed, Mailbox
from tests.support.recorders import PATIENCE_S


def test_what_is_put_in_comes_out_in_order() -> None:
    mailbox = Mailbox[int]()
    assert [mailbox.put(number) for number in range(3)] == [True] * 3

    assert [mailbox.get(), mailbox.get(PATIENCE_S), mailbox.get(0)] == [0, 1, 2]


def test_getting_waits_for_the_next() -> None:
    mailbox = Mailbox[str]()
    with ThreadPoolExecutor(1) as thread:
        got = thread.submit(mailbox.get, PATIENCE_S)
        mailbox.put("late")

        assert got.result(PATIENCE_S) == "late"


@pytest.mark.parametrize("timeout", [0.01, 0.0, -1.0])
def test_nothing_in_time_is_a_timeout(timeout: float) -> None:
    with pytest.raises(TimeoutError, match="nothing came"):
        Mailbox[int]().get(timeout)


def test_closing_wakes_who_waits_and_says_why() -> None:
    mailbox = Mailbox[int]()
    with ThreadPoolExecutor(1) as thread:
        got = thread.submit(mailbox.get, PATIENCE_S)
        mailbox.close("shutdown")

        with pytest.raises(Closed, match="shutdown"):
            got.result(PATIENCE_S)


def test_what_lies_in_a_closed_mailbox_can_be_taken() -> None:
    mailbox = Mailbox[int]()
    mailbox.put(1)
    mailbox.close("restarted")
    mailbox.close("shutdown")

    assert not mailbox.put(2)
    assert mailbox.get() == 1
    with pytest.raises(Closed, match="restarted"):  # the first reason stands
        mailbox.get()


def test_a_full_mailbox_is_closed_for_good() -> None:
    mailbox = Mailbox[int](size=2)
    assert [mailbox.put(number) for number in range(4)] == [True, True, False, False]

    assert list(mailbox) == [0, 1]
    with pytest.raises(Closed, match="lagged"):
        mailbox.get()


def test_draining_takes_all_that_is_here() -> None:
    mailbox = Mailbox[int]()
    mailbox.put(1)
    mailbox.put(2)

    assert mailbox.drain() == [1, 2]
    assert mailbox.drain() == []


def test_several_items_go_in_at_once_as_far_as_they_fit() -> None:
    mailbox = Mailbox[int](size=3)

    assert mailbox.put_all([0, 1])
    assert not mailbox.put_all([2, 3])
    assert (mailbox.drain(), mailbox.reason) == ([0, 1, 2], "lagged")


def test_taking_waits_for_one_and_takes_all() -> None:
    mailbox = Mailbox[int]()
    mailbox.put_all([0, 1])
    assert list(mailbox.take(PATIENCE_S)) == [0, 1]
    with pytest.raises(TimeoutError, match="nothing came"):
        mailbox.take(0.01)
    with ThreadPoolExecutor(1) as thread:
        taken = thread.submit(mailbox.take, PATIENCE_S)
        mailbox.put(2)

        assert list(taken.result(PATIENCE_S)) == [2]
    mailbox.put(3)
    mailbox.close("shutdown")
    assert list(mailbox.take()) == [3]
    with pytest.raises(Closed, match="shutdown"):
        mailbox.take()


def test_each_of_several_readers_is_woken() -> None:
    for _ in range(100):
        mailbox = Mailbox[int]()
        with ThreadPoolExecutor(4) as threads:
            readers = [threads.submit(mailbox.get, PATIENCE_S) for _ in range(3)]
            impatient = threads.submit(mailbox.get, 0.0001)
            for number in range(4):
                mailbox.put(number)
            got = [reader.result(PATIENCE_S) for reader in readers]
            if impatient.exception(PATIENCE_S) is None:
                got.append(impatient.result())

        assert sorted([*got, *mailbox.drain()]) == [0, 1, 2, 3]


def test_what_is_handled_wakes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox_module, "ALONE_S", 0.0)
    mailbox = Mailbox[int]()
    handled: list[int] = []

    def handle(item: int) -> int | None:
        handled.append(item)
        return None if item < 3 else -item

    with ThreadPoolExecutor(1) as thread:
        got = thread.submit(mailbox.take, PATIENCE_S, handle)
        while mailbox._handle is None:
            pass
        assert [mailbox.put(number) for number in (1, 2, 3, 4)] == [True] * 4

        taken = [*got.result(PATIENCE_S), *mailbox.drain()]
    assert (handled, taken) == ([1, 2, 3], [-3, 4])


def test_what_comes_together_is_left_to_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox_module, "ALONE_S", PATIENCE_S)
    mailbox = Mailbox[int]()
    handled: list[int] = []
    with ThreadPoolExecutor(1) as thread:
        got = thread.submit(mailbox.take, PATIENCE_S, handled.append)
        while mailbox._handle is None:
            pass
        assert [mailbox.put(number) for number in (1, 2, 3)] == [True] * 3

        taken = [*got.result(PATIENCE_S), *mailbox.drain()]
    assert (handled, taken) == ([1], [2, 3])


def test_nothing_is_handled_for_who_does_not_wait() -> None:
    mailbox = Mailbox[int]()
    with pytest.raises(TimeoutError):
        mailbox.take(0.01, lambda item: None)
    mailbox.put(1)

    assert mailbox.drain() == [1]


def test_what_is_handled_makes_the_wait_begin_anew() -> None:
    mailbox = Mailbox[int]()
    handled = threading.Event()

    def handle(item: int) -> None:
        handled.set()

    with ThreadPoolExecutor(1) as thread:
        began = time.monotonic()
        got = thread.submit(mailbox.take, 0.2, handle)
        while mailbox._handle is None:
            pass
        while time.monotonic() < began + 0.1:
            pass
        mailbox.put(1)

        with pytest.raises(TimeoutError):
            got.result(PATIENCE_S)
        assert handled.is_set() and time.monotonic() >= began + 0.3
