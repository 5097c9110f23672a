"""Who waits for the task of an idempotency key."""

import threading

import pytest

from ollama_queue.http.dropin.audience import Audience

PATIENCE_S = 10.0


def test_the_last_one_to_leave_ends_the_task() -> None:
    ended: list[str] = []
    first, second = Audience.join("a"), Audience.join("a")
    first.ends_with_it = True
    assert first is second

    first.leave("a", lambda: ended.append("first"))
    assert ended == []
    second.leave("a", lambda: ended.append("second"))

    assert ended == ["second"]
    assert Audience.join("a") is not first


def test_a_task_that_continues_is_not_ended() -> None:
    Audience.join("b").leave("b", lambda: 1 / 0)


def test_who_comes_while_it_ends_waits_and_is_not_forgotten() -> None:
    ending, may_end, joined = threading.Event(), threading.Event(), threading.Event()
    late: list[Audience] = []

    def end() -> None:
        ending.set()
        assert may_end.wait(PATIENCE_S)

    def join() -> None:
        late.append(Audience.join("c"))
        joined.set()

    first = Audience.join("c")
    first.ends_with_it = True
    leaver = threading.Thread(target=first.leave, args=("c", end))
    leaver.start()
    assert ending.wait(PATIENCE_S)
    joiner = threading.Thread(target=join)
    joiner.start()
    assert not joined.is_set()
    may_end.set()
    leaver.join(PATIENCE_S)
    joiner.join(PATIENCE_S)

    assert late == [first]
    again = Audience.join("c")
    assert again is first
    again.leave("c", lambda: 1 / 0)


def test_a_failed_end_leaves_nobody_behind() -> None:
    first = Audience.join("d")
    first.ends_with_it = True
    with pytest.raises(ZeroDivisionError):
        first.leave("d", lambda: 1 / 0)

    assert Audience.join("d") is not first
