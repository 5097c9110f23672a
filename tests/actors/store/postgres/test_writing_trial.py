"""Whether PostgreSQL takes writes again: tried with what leaves nothing behind."""

from collections.abc import Iterator

import pytest

from ollama_queue.actors.store.postgres.connections import PostgresError, connect
from ollama_queue.actors.store.postgres.saving import try_to_write
from ollama_queue.actors.store.postgres.schema import prepare


@pytest.fixture
def prepared(conninfo: str) -> str:
    prepare(conninfo)
    return conninfo


@pytest.fixture
def writer(prepared: str) -> Iterator[str]:
    """Where a user connects who may write the tables, and make none."""
    schema = prepared.rpartition("%3D")[2]
    with connect(prepared) as owner:
        owner.execute("CREATE ROLE writer LOGIN")
        owner.execute("ALTER ROLE writer SET default_transaction_isolation = serializable")
        owner.execute(f"GRANT USAGE ON SCHEMA {schema} TO writer".encode())
        owner.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO writer".encode())
        yield prepared.replace("//postgres@", "//writer@")
        owner.execute("DROP OWNED BY writer")
        owner.execute("DROP ROLE writer")


def test_it_leaves_nothing_behind(prepared: str) -> None:
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
    with connect(prepared) as connection:
        before = connection.execute(tables.encode()).fetchall()

        try_to_write(prepared)

        assert connection.execute(tables.encode()).fetchall() == before
        for table in ("tasks", "specs", "results", "calls"):
            assert connection.execute(f"SELECT FROM {table}".encode()).fetchall() == []


def test_who_may_make_no_tables_does_without(writer: str) -> None:
    try_to_write(writer)


def test_who_may_not_write_a_table_learns_it(prepared: str, writer: str) -> None:
    with connect(prepared) as owner:
        owner.execute("REVOKE INSERT ON results FROM writer")

    with pytest.raises(PostgresError, match="permission denied for table results"):
        try_to_write(writer)


def test_statements_see_what_was_committed_whatever_the_users_default_is(writer: str) -> None:
    with connect(writer) as connection:
        ((level,),) = connection.execute("SHOW transaction_isolation").fetchall()

    assert level == "read committed"
