"""The election's statements: one server leads at a time, each lead in an epoch of its own."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from ollama_queue.actors.core.fleet.candidacy import Question
from ollama_queue.actors.core.fleet.refusals import REFUSED
from ollama_queue.actors.store.postgres.connections import PostgresError, connect
from ollama_queue.actors.store.postgres.leadership import Leadership, Me, ResignationListener
from ollama_queue.actors.store.postgres.schema import prepare
from tests.support.servers.postgres import PostgresServer

TTL_S = 5.0
SILENT = "UPDATE leader SET seen_at = clock_timestamp() - interval '6 s'"
SILENT_SERVERS = "UPDATE servers SET seen_at = clock_timestamp() - interval '1 min' WHERE url = %s"


@pytest.fixture
def fleet(conninfo: str) -> Iterator[list[Leadership]]:
    """Three servers of one queue."""
    prepare(conninfo)
    servers = [
        Leadership(conninfo, Me(str(uuid4()), f"http://s{n}:7125", 4, "1.0", settings), TTL_S)
        for n, settings in enumerate((b"same", b"same", b"different"))
    ]
    yield servers
    for server in servers:
        server.close()


def test_one_of_those_that_try_together_leads(fleet: list[Leadership]) -> None:
    with ThreadPoolExecutor(3) as threads:
        beats = list(threads.map(lambda server: server.beat(Question.TRY, None), fleet))

    assert sorted(epoch is not None for epoch, *_ in beats) == [False, False, True]


def test_the_leader_stays_until_it_is_silent(fleet: list[Leadership], conninfo: str) -> None:
    first, second, _ = fleet
    assert first.beat(Question.TRY, None)[0] == 1
    assert second.beat(Question.TRY, None)[0] is None
    assert first.beat(Question.KEEP, 1)[0] == 1

    with connect(conninfo) as connection:
        connection.execute(SILENT)
    epoch, sight, _ = second.beat(Question.TRY, None)

    assert epoch == 2
    assert sight.leader is not None and sight.leader.is_here
    assert first.beat(Question.KEEP, 1)[0] is None


def test_a_leader_that_has_lost_its_connection_leads_at_once_in_a_new_epoch(
    fleet: list[Leadership],
) -> None:
    first = fleet[0]
    first.beat(Question.TRY, None)
    first.close()

    assert first.beat(Question.TRY, None)[0] == 2
    assert first.beat(Question.KEEP, 1)[0] is None


def test_to_look_takes_no_lead(fleet: list[Leadership]) -> None:
    epoch, sight, _ = fleet[0].beat(Question.LOOK, None)

    assert (epoch, sight.leader, len(sight.servers)) == (None, None, 1)


def test_all_see_who_leads(fleet: list[Leadership]) -> None:
    first, second, third = fleet
    first.beat(Question.TRY, None)
    second.beat(Question.LOOK, None)
    _, sight, _ = third.beat(Question.LOOK, None)

    assert sight.leader is not None
    assert (sight.leader.url, sight.leader.is_here) == ("http://s0:7125", False)
    seen = {server.url: (server.leads, server.same_settings) for server in sight.servers}
    assert seen == {
        "http://s0:7125": (True, True),
        "http://s1:7125": (False, True),
        "http://s2:7125": (False, False),
    }
    assert all(0 <= server.lag_s < TTL_S and not server.silent for server in sight.servers)


def test_who_has_not_shown_itself_for_the_ttl_is_silent(
    fleet: list[Leadership], conninfo: str
) -> None:
    first, second, _ = fleet
    for each in (first, second):
        each.beat(Question.LOOK, None)
    with connect(conninfo) as connection:
        back = "UPDATE servers SET seen_at = seen_at - make_interval(secs => %s) WHERE url = %s"
        connection.execute(back, (TTL_S, "http://s1:7125"))

    _, sight, _ = first.beat(Question.LOOK, None)

    assert [(server.url, server.silent) for server in sight.servers] == [
        ("http://s0:7125", False),
        ("http://s1:7125", True),
    ]


def test_who_resigns_is_followed_at_once(fleet: list[Leadership], conninfo: str) -> None:
    first, second, _ = fleet
    first.beat(Question.TRY, None)
    listener = ResignationListener(conninfo)

    first.resign()

    assert listener.wait(10.0)
    listener.close()
    epoch, sight, _ = second.beat(Question.TRY, None)
    assert epoch == 2
    assert [server.url for server in sight.servers] == ["http://s1:7125"]


def test_a_follower_that_leaves_takes_the_lead_from_nobody(
    fleet: list[Leadership], conninfo: str
) -> None:
    first, second, _ = fleet
    first.beat(Question.TRY, None)
    second.beat(Question.LOOK, None)
    listener = ResignationListener(conninfo)

    second.resign()

    assert not listener.wait(0.0)
    listener.close()
    assert first.beat(Question.KEEP, 1)[0] == 1


def test_the_leader_buries_who_has_long_been_silent(fleet: list[Leadership], conninfo: str) -> None:
    first, second, third = fleet
    for server in (second, third):
        server.beat(Question.LOOK, None)
    with connect(conninfo) as connection:
        connection.execute(SILENT_SERVERS, ["http://s1:7125"])

    _, sight, _ = first.beat(Question.TRY, None)

    assert [server.url for server in sight.servers] == ["http://s0:7125", "http://s2:7125"]


def test_a_cut_connection_is_replaced(fleet: list[Leadership], postgres: PostgresServer) -> None:
    first = fleet[0]
    first.beat(Question.TRY, None)
    postgres.cut()

    with pytest.raises(PostgresError):
        first.beat(Question.KEEP, 1)
    assert first.beat(Question.KEEP, 1)[0] == 1


def test_a_beat_that_is_refused_still_sees_who_is_there(
    fleet: list[Leadership], conninfo: str
) -> None:
    first, second, _ = fleet
    first.beat(Question.TRY, None)
    second.beat(Question.LOOK, None)
    with connect(conninfo) as connection:
        connection.execute("ALTER TABLE servers ADD CHECK (seen_at < '2000-01-01') NOT VALID")

    leads, sight, refused = first.beat(Question.KEEP, 1)

    assert leads is None
    assert sight.leader is not None and sight.leader.is_here
    assert [server.url for server in sight.servers] == ["http://s0:7125", "http://s1:7125"]
    assert refused.startswith(REFUSED)


def test_the_leader_shows_why_it_only_reads(fleet: list[Leadership]) -> None:
    first, second, _ = fleet
    for refusal in ("the disk is full", None):
        first.refuse(refusal)
        first.beat(Question.TRY, None)
        _, sight, _ = second.beat(Question.LOOK, None)

        assert [server.read_only for server in sight.servers] == [refusal, None]


def noting(sent: list[object]) -> type["psycopg.Cursor[Any]"]:
    class NotingCursor(psycopg.Cursor[Any]):
        def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            sent.append(query)
            return super().execute(query, *args, **kwargs)

    return NotingCursor


def test_a_beat_is_one_statement(fleet: list[Leadership]) -> None:
    first, second, _ = fleet
    first.beat(Question.TRY, None)
    second.beat(Question.TRY, None)
    sent: list[object] = []
    for each in (first, second):
        assert each._connection is not None
        each._connection.cursor_factory = noting(sent)
    first.beat(Question.KEEP, 1)
    second.beat(Question.TRY, None)

    assert len(sent) == 2
