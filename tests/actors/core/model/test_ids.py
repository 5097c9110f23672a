"""Ids that sort by arrival, and digests of what was asked."""

import uuid
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from ollama_queue.actors.core.intake.submission import new_task
from ollama_queue.actors.core.model.ids import body_digest, canonical, instant_of, key_digest, mint
from tests.support.plans import asked

YEAR_2500_US = 16_725_225_600_000_000
instants = st.integers(0, YEAR_2500_US)
chances = st.integers(0, 2**62 - 1)


@given(instants, chances)
def test_an_id_is_a_uuid_of_version_7(at_us: int, chance: int) -> None:
    text = mint(at_us, chance)
    parsed = uuid.UUID(text)

    assert str(parsed) == text
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == at_us // 1000
    assert parsed.int & (2**62 - 1) == chance


@given(instants, chances)
def test_an_id_tells_when_it_was_minted(at_us: int, chance: int) -> None:
    assert instant_of(mint(at_us, chance)) == at_us


def test_ids_tell_each_microsecond_of_a_millisecond_apart() -> None:
    ids = [mint(us, 0) for us in range(5_000_000, 5_002_001)]

    assert ids == sorted(set(ids))
    assert [instant_of(each) for each in ids] == list(range(5_000_000, 5_002_001))


@given(instants, st.integers(1, 10_000), chances, chances)
def test_ids_of_different_microseconds_sort_by_time(
    at_us: int, later_us: int, chance: int, other: int
) -> None:
    assert mint(at_us, chance) < mint(at_us + later_us, other)


def test_more_chance_than_fits_spoils_nothing_else() -> None:
    assert mint(1, 2**64 - 1) == mint(1, 2**62 - 1)


def test_a_key_is_its_tenants_own() -> None:
    digests = [key_digest(*pair) for pair in [(None, "k"), ("a", "k"), ("a", "l"), ("ak", "")]]

    assert len({*digests}) == 4
    assert [len(digest) for digest in digests] == [16] * 4
    assert key_digest(None, "k") == key_digest("", "k") == digests[0]


def test_what_was_asked_has_one_digest_whatever_the_order_of_its_fields() -> None:
    one = {"type": "generate", "model": "m", "prompt": "p", "options": {"seed": 1, "top_k": 2}}
    two = {"options": {"top_k": 2, "seed": 1}, "payload": {"prompt": "p"}, **one}
    del two["prompt"]

    assert body_digest(new_task(one)) == body_digest(new_task(two))
    assert body_digest(new_task(one)) != body_digest(new_task({**one, "priority": 6}))
    assert body_digest(new_task(one)) != body_digest(new_task({**one, "metadata": {"a": 1}}))


def test_only_a_submission_with_a_key_has_digests() -> None:
    assert (asked().key, asked().body) == (None, b"")
    assert asked(key="k").key == key_digest(None, "k")
    assert asked(key="k", tenant="acme").key == key_digest("acme", "k")


def test_a_field_that_is_not_set_leaves_the_digests_of_older_stores_valid() -> None:
    one = new_task({"type": "generate", "model": "m", "prompt": "p"})
    set_ones: list[dict[str, Any]] = [
        {"fallback_models": []},
        {"start_within": 1},
        {"start_within": 1, "fallback_models": []},
    ]
    others = [new_task({"type": "generate", "model": "m", "prompt": "p", **f}) for f in set_ones]

    assert canonical(one) == (
        b'{"type":"generate","model":"m","dialect":"ollama","payload":{"prompt":"p"},"options":{},'
        b'"priority":5,"scheduled_at":null,"max_retries":null,"timeout_s":null,'
        b'"remote_execution":false,"backend":null,"tenant":null,"tags":[],"metadata":{}}'
    )
    assert len({*map(body_digest, [one, *others])}) == 1 + len(others)


def test_a_repeated_request_may_have_another_deadline() -> None:
    one = {"type": "generate", "model": "m", "prompt": "p", "start_within": 5}
    late = {**one, "deadline": "2030-01-01T00:00:00Z"}

    assert body_digest(new_task(one)) == body_digest(new_task(late))
