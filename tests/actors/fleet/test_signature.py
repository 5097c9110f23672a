"""The address of a client counts only if one of our servers has just signed it for this request."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_queue.actors.fleet.signature import FRESH_S, Seal

SEAL = Seal(b"s" * 32)
TEXT = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]))


@given(address=TEXT, method=TEXT, target=TEXT)
def test_what_a_server_has_signed_counts(address: str, method: str, target: str) -> None:
    assert SEAL.vouched(SEAL.sign(address, method, target), method, target) == address


SIGNED = SEAL.sign("10.0.0.1", "GET", "/api/tasks")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "10.0.0.1",
        "10.0.0.1 ",
        "10.0.0.1 é",
        SIGNED.replace("10.0.0.1", "10.0.0.2"),
        SIGNED.replace("10.0.0.1 ", "10.0.0.1 1"),
        SIGNED[:-1],
        Seal().sign("10.0.0.1", "GET", "/api/tasks"),
        SEAL.sign("10.0.0.1", "POST", "/api/tasks"),
        SEAL.sign("10.0.0.1", "GET", "/api/tasks?x=1"),
    ],
)
def test_nothing_else_does(value: str) -> None:
    assert SEAL.vouched(value, "GET", "/api/tasks") is None


def test_without_a_secret_nobody_is_believed() -> None:
    assert Seal().vouched(Seal().sign("10.0.0.1", "GET", "/"), "GET", "/") is None


@pytest.mark.parametrize(
    ("later_s", "address"),
    [(-FRESH_S - 1, None), (-FRESH_S, "10.0.0.1"), (FRESH_S, "10.0.0.1"), (FRESH_S + 1, None)],
)
def test_who_has_overheard_a_signature_can_use_it_for_a_minute(
    later_s: int, address: str | None
) -> None:
    here, there = Seal(SEAL.secret, lambda: 5.0), Seal(SEAL.secret, lambda: 7000.0)
    here.set_time(1_000_000.0)  # whatever their own clocks show
    there.set_time(1_000_000.0 + later_s)

    assert there.vouched(here.sign("10.0.0.1", "GET", "/"), "GET", "/") == address


def test_time_goes_on_without_the_database() -> None:
    clock = [0.0]
    seal = Seal(SEAL.secret, lambda: clock[0])
    signed = seal.sign("10.0.0.1", "GET", "/")

    clock[0] = FRESH_S + 1.0

    assert seal.vouched(signed, "GET", "/") is None


def test_a_server_that_is_not_upgraded_yet_signs_no_time() -> None:
    wanted = hmac.new(SEAL.secret, b"10.0.0.1\nGET\n/", hashlib.sha256).hexdigest()

    assert SEAL.vouched(f"10.0.0.1 {wanted}", "GET", "/") == "10.0.0.1"
