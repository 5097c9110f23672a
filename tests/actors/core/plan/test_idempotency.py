"""Which idempotency keys live, and for how long."""

import pytest

from ollama_queue.actors.core.model.entry import KeyUse
from ollama_queue.actors.core.plan import idempotency
from ollama_queue.actors.core.plan.idempotency import KEEP_ENDED, KEEP_S, IdempotencyKeys
from tests.support.plans import NOW

HOUR = 3600.0


def keyed(task_id: str, accepted_at: float = NOW) -> KeyUse:
    return KeyUse(task_id, b"body", accepted_at)


def test_a_key_stands_for_its_task() -> None:
    keys = IdempotencyKeys()
    keys.add(b"k", keyed("a"))

    assert keys.find(b"k", NOW) == keyed("a")
    assert keys.find(b"other", NOW) is None
    assert len(keys) == 1


def test_a_live_tasks_key_does_not_expire() -> None:
    keys = IdempotencyKeys()
    keys.add(b"k", keyed("a"))

    assert list(keys.expire(NOW + 100 * KEEP_S)) == []
    assert keys.find(b"k", NOW + 100 * KEEP_S) == keyed("a")


def test_an_ended_tasks_key_lives_24_hours_from_acceptance() -> None:
    keys = IdempotencyKeys()
    keys.add(b"k", keyed("a"))
    keys.end(b"k", "a")

    assert list(keys.expire(NOW + KEEP_S - 1)) == []
    assert keys.find(b"k", NOW + KEEP_S - 1) == keyed("a")
    assert keys.find(b"k", NOW + KEEP_S) is None
    assert list(keys.expire(NOW + KEEP_S)) == [b"k"]
    assert len(keys) == 0


def test_a_long_task_ends_after_its_key_had_its_time() -> None:
    keys = IdempotencyKeys()
    keys.add(b"k", keyed("a"))
    keys.end(b"k", "a")

    assert keys.find(b"k", NOW + 2 * KEEP_S) is None
    assert list(keys.expire(NOW + 2 * KEEP_S)) == [b"k"]


def test_keys_expire_in_the_order_in_which_their_tasks_ended() -> None:
    keys = IdempotencyKeys()
    for name in (b"1", b"2", b"3"):
        keys.add(name, keyed(name.decode()))
    for name in (b"3", b"1"):
        keys.end(name, name.decode())

    assert list(keys.expire(NOW + KEEP_S)) == [b"3", b"1"]
    assert keys.find(b"2", NOW + KEEP_S) == keyed("2")


def test_a_key_used_again_stands_for_the_new_task_alone() -> None:
    keys = IdempotencyKeys()
    keys.add(b"k", keyed("a"))
    keys.end(b"k", "a")
    keys.add(b"k", keyed("b", NOW + KEEP_S))

    assert list(keys.expire(NOW + KEEP_S)) == []
    assert keys.find(b"k", NOW + KEEP_S) == keyed("b", NOW + KEEP_S)
    assert len(keys) == 1


def test_the_end_of_a_task_without_a_known_key_is_no_news() -> None:
    keys = IdempotencyKeys()
    keys.end(b"k", "a")

    assert len(keys) == 0


def test_of_ended_tasks_only_the_newest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEEP_ENDED == 100_000
    monkeypatch.setattr(idempotency, "KEEP_ENDED", 3)
    keys = IdempotencyKeys()
    for index in range(5):
        keys.add(b"%d" % index, keyed(str(index)))
        keys.end(b"%d" % index, str(index))
    keys.add(b"live", keyed("live"))

    assert list(keys.expire(NOW)) == [b"0", b"1"]
    assert len(keys) == 4


def test_a_boot_takes_up_live_and_ended_keys() -> None:
    keys = IdempotencyKeys()
    keys.restore(
        [
            (b"young", keyed("y", NOW + HOUR)),
            (b"old", keyed("o", NOW)),
            (b"live", keyed("l", NOW - HOUR)),
        ],
        {"l", "unknown"},
    )

    assert list(keys.expire(NOW + KEEP_S)) == [b"old"]
    assert keys.find(b"young", NOW + KEEP_S) == keyed("y", NOW + HOUR)
    assert keys.find(b"live", NOW + KEEP_S) == keyed("l", NOW - HOUR)
    assert len(keys) == 2
