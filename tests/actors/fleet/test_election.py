"""The Election: what it tells System, on a real PostgreSQL and by a clock that the tests move."""

from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any
from uuid import uuid4

import pytest

from ollama_queue import Unavailable
from ollama_queue.actors.base.actor import Actor, Ref, ask, start, stop, tell
from ollama_queue.actors.core.fleet.servers import Sight
from ollama_queue.actors.core.messages import Deposed, Elected, Wake
from ollama_queue.actors.core.messages.election import Nudged, Resign, Rest
from ollama_queue.actors.fleet import election
from ollama_queue.actors.fleet.election import Election
from ollama_queue.actors.store.postgres.connections import connect
from ollama_queue.actors.store.postgres.leadership import Me
from ollama_queue.actors.store.postgres.schema import prepare
from tests.support.servers.postgres import PostgresServer

TTL_S = 2.0
PATIENCE_S = 20.0


class System(Actor):
    """Keeps what it is told."""

    def __init__(self, told: "SimpleQueue[Any]") -> None:
        super().__init__(print)
        self.told = told

    def handle(self, message: Any) -> None:
        self.told.put(message)


class Candidate:
    """A server's Election, and what comes of it."""

    def __init__(self, conninfo: str, name: str) -> None:
        self.told: SimpleQueue[Any] = SimpleQueue()
        self.seen: SimpleQueue[Sight] = SimpleQueue()
        self.crashes: list[str] = []
        self.system: Ref = start(System, self.told)
        self.election: Ref = start(
            Election,
            self.crashes.append,
            conninfo=conninfo,
            me=Me(str(uuid4()), f"http://{name}", 4, "1.0", b""),
            ttl_s=TTL_S,
            system=self.system,
            prepare=lambda: prepare(conninfo),
            see=self.seen.put,
        )

    def hears(self) -> Any:
        return self.told.get(timeout=PATIENCE_S)

    def sees(self, wanted: Callable[[Sight], bool]) -> Sight:
        while True:
            sight = self.seen.get(timeout=PATIENCE_S)
            if wanted(sight):
                return sight

    def close(self) -> None:
        stop(self.election, 1.0)
        stop(self.system, 1.0)
        assert self.crashes == []


@pytest.fixture
def candidate(conninfo: str) -> Iterator[Callable[[str], Candidate]]:
    candidates: list[Candidate] = []

    def make(name: str) -> Candidate:
        candidates.append(Candidate(conninfo, name))
        return candidates[-1]

    yield make
    for each in candidates:
        each.close()


def test_the_first_leads_and_the_second_sees_it(candidate: Callable[[str], Candidate]) -> None:
    first = candidate("first")
    assert first.hears() == Elected(1)
    second = candidate("second")

    sight = second.sees(lambda sight: len(sight.servers) == 2)

    assert sight.leader is not None
    assert (sight.leader.url, sight.leader.is_here) == ("http://first", False)
    assert second.told.empty()


def test_a_leader_that_resigns_is_followed_without_waiting_for_its_ttl(
    candidate: Callable[[str], Candidate],
) -> None:
    first = candidate("first")
    assert first.hears() == Elected(1)
    second = candidate("second")

    assert ask(first.election, Resign())

    assert second.hears() == Elected(2)
    assert first.told.empty()


def test_one_that_has_resigned_hears_what_comes_after_its_own_hint(
    candidate: Callable[[str], Candidate],
) -> None:
    one = candidate("one")
    one.hears()
    ask(one.election, Resign(), PATIENCE_S)

    tell(one.election, Nudged())

    assert ask(one.election, Resign(), PATIENCE_S)


def test_another_leads_when_the_leader_is_silent(
    candidate: Callable[[str], Candidate],
) -> None:
    first = candidate("first")
    assert first.hears() == Elected(1)
    second = candidate("second")

    stop(first.election, 1.0)

    assert second.hears() == Elected(2)


def test_a_leader_whose_row_another_has_taken_is_told(
    candidate: Callable[[str], Candidate], conninfo: str
) -> None:
    first = candidate("first")
    assert first.hears() == Elected(1)

    with connect(conninfo) as connection:
        connection.execute(
            "UPDATE leader SET epoch = 7, server = %s, seen_at = clock_timestamp()", [uuid4()]
        )

    assert first.hears() == Deposed(1, "another server leads")
    assert first.hears() == Elected(8)  # once that one is silent


def test_a_lead_whose_store_failed_begins_anew(candidate: Callable[[str], Candidate]) -> None:
    first = candidate("first")
    assert first.hears() == Elected(1)

    tell(first.election, Rest(1, 0.0))

    assert first.hears() == Elected(2)


def test_cut_connections_end_no_lead(
    candidate: Callable[[str], Candidate], postgres: PostgresServer
) -> None:
    first = candidate("first")
    assert first.hears() == Elected(1)
    postgres.cut()

    first.sees(lambda sight: True)
    first.sees(lambda sight: sight.leader is not None and sight.leader.is_here)

    assert first.told.empty()


def test_a_lead_ends_by_its_own_clock_while_the_database_is_away(
    candidate: Callable[[str], Candidate], postgres: PostgresServer
) -> None:
    first = candidate("first")
    assert first.hears() == Elected(1)

    postgres.stop()
    try:
        assert first.hears() == Deposed(1, "no beat has reached queue.storage for 2 s")
    finally:
        postgres.start()

    assert first.hears() == Elected(2)


def test_a_spurious_wake_does_nothing(candidate: Callable[[str], Candidate]) -> None:
    first = candidate("first")
    assert first.hears() == Elected(1)
    for _ in range(100):
        tell(first.election, Wake())

    first.sees(lambda sight: sight.leader is not None)
    assert first.told.empty()


def test_a_database_that_refuses_is_one_sentence(conninfo: str) -> None:
    wrong = conninfo.replace("postgres@/postgres", "postgres:s3cret@/nothing")

    with pytest.raises(Unavailable, match=r"cannot be used: .*does not exist") as why:
        Candidate(wrong, "first")

    assert "s3cret" not in why.value.message


def test_a_database_that_is_away_is_waited_for_and_then_one_sentence(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(election, "FIRST_S", 0.0)

    with pytest.raises(Unavailable, match="cannot be used: "):
        Candidate("postgresql://nobody@127.0.0.1:1/x", "first")
