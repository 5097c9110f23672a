"""PostgreSQL refuses to write for a while: its disk is full, or it is read-only."""

from collections.abc import Callable

import httpx
import psycopg
import pytest

from ollama_queue import generate_task as generate
from tests.fleet.test_takeovers import check_completed
from tests.support.servers.fleet import PATIENCE_S, ServersOfQueue
from tests.system.crashes.test_kill9 import all_tasks

FULL = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE disk_full USING MESSAGE =
        'could not extend file "base/5/16396": No space left on device';
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON specs FOR EACH STATEMENT EXECUTE FUNCTION refuse()
"""


def fill(conninfo: str) -> None:
    execute(conninfo, FULL)


def empty(conninfo: str) -> None:
    execute(conninfo, "DROP TRIGGER refuse ON specs")


def make_read_only(conninfo: str) -> None:
    execute(conninfo, "ALTER SYSTEM SET default_transaction_read_only = on")
    execute(conninfo, "SELECT pg_reload_conf()")


def make_writable(conninfo: str) -> None:
    execute(conninfo, "ALTER SYSTEM RESET default_transaction_read_only")
    execute(conninfo, "SELECT pg_reload_conf()")


def execute(conninfo: str, statements: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(b"SET default_transaction_read_only = off")
        connection.execute(statements.encode())


@pytest.mark.parametrize(
    ("refuse", "accept", "why"),
    [
        (fill, empty, "the disk is full"),
        (make_read_only, make_writable, "no server leads the queue at the moment: its database"),
    ],
    ids=["full", "read-only"],
)
def test_it_goes_on_by_itself(
    fleet: ServersOfQueue,
    refuse: Callable[[str], None],
    accept: Callable[[str], None],
    why: str,
) -> None:
    follower = fleet.followers()[0]

    def submit() -> httpx.Response:
        body = {"type": "generate", "model": "m", "payload": {"prompt": "hi"}}
        return httpx.post(f"{follower.base_url}/api/tasks", json=body, timeout=PATIENCE_S)

    with fleet.ready(follower) as client:
        ids = [client.submit_task(generate("m", "before"))]
        client.wait(ids[0], timeout=PATIENCE_S)

        refuse(fleet.conninfo)
        refusals = [submit() for _ in range(2)]

        accept(fleet.conninfo)
        ids.append(client.submit_task(generate("m", "after")))
        check_completed(fleet, client, ids)
        assert all_tasks(client).keys() == set(ids)
    assert [refusal.status_code for refusal in refusals] == [503, 503]
    assert all("Retry-After" in refusal.headers for refusal in refusals)
    assert why in refusals[-1].text
    lines = sum(server.log_text().count("\n") for server in fleet.servers)
    assert lines < 100, "a storm of restarts"
