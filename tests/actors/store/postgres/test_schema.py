"""The tables in PostgreSQL: created once, whoever comes first, and never by an older version."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from ollama_queue import Unavailable
from ollama_queue.actors.store.encoding import FAMILIES, SHARED_FAMILIES
from ollama_queue.actors.store.postgres.connections import connect
from ollama_queue.actors.store.postgres.schema import MIGRATIONS, prepare
from tests.support.servers.postgres import PostgresServer

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"


def test_there_is_a_table_for_each_family(conninfo: str) -> None:
    prepare(conninfo)

    with connect(conninfo) as connection:
        tables = {name for (name,) in connection.execute(TABLES)}
        leader = connection.execute("SELECT epoch, seen_at = '-infinity' FROM leader").fetchall()
    assert tables == {*FAMILIES, *SHARED_FAMILIES, "leader", "servers", "blobs", "marks"}
    assert leader == [(0, True)]


def test_servers_that_start_together_create_them_once(conninfo: str) -> None:
    with ThreadPoolExecutor(4) as servers:
        list(servers.map(prepare, [conninfo] * 8))

    with connect(conninfo) as connection:
        number = connection.execute("SELECT value FROM marks WHERE name = 'schema'").fetchall()
    assert number == [(len(MIGRATIONS),)]


def test_tables_of_a_newer_version_are_refused(conninfo: str) -> None:
    prepare(conninfo)
    with connect(conninfo) as connection:
        connection.execute("UPDATE marks SET value = 99 WHERE name = 'schema'")

    with pytest.raises(Unavailable, match=f"format 99, this version reads {len(MIGRATIONS)}:"):
        prepare(conninfo)


@pytest.mark.parametrize(
    "wrong",
    [
        "postgresql://%zz",
        "not a conninfo",
        "postgresql://me:secret@[::1/x",
        "postgresql://me:secret@127.0.0.1:1/x",
    ],
)
def test_a_place_that_is_none_is_one_sentence(wrong: str) -> None:
    with pytest.raises(Unavailable, match=r"^PostgreSQL: .+") as refused:
        prepare(wrong)

    assert "\n" not in refused.value.message
    assert "secret" not in refused.value.message


def test_a_server_that_is_down_is_one_sentence(postgres: PostgresServer) -> None:
    with pytest.raises(Unavailable, match=r"PostgreSQL: .*failed"):
        prepare(postgres.conninfo.replace("host=", "host=/nowhere"))


def test_one_that_takes_no_writes_is_said_to(conninfo: str) -> None:
    read_only = f"{conninfo}%20-cdefault_transaction_read_only%3Don"  # as a standby is

    with pytest.raises(Unavailable, match="it is a standby"):
        prepare(read_only)


def test_the_user_s_options_win(conninfo: str) -> None:
    with connect(conninfo + "%20-cjit%3Don") as connection:
        shown = connection.execute("SELECT current_setting('jit'), current_setting('lock_timeout')")
        assert shown.fetchall() == [("on", "5s")]
