"""Servers of the version before this one, beside those of this one: upgraded one by one.

The version before is the last commit's, or the one that OLLAMA_QUEUE_BEFORE names. Where the
history has none, as in a shallow clone, it is this one once more: then a server that joins, takes
over and hands back is all that these tests show.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks.guard import checked_out, has
from ollama_queue import Client, Status, chat_task
from ollama_queue import generate_task as generate
from ollama_queue.actors.store.postgres.schema import MIGRATIONS
from tests.support.fakes.behaviours import Hang
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.fleet import PATIENCE_S, ServerOfFleet, ServersOfQueue, check_ends
from tests.support.servers.postgres import PostgresServer
from tests.support.servers.real_models import ROOT

CRON = {
    "name": "nightly",
    "cron_expr": "@yearly",
    "task_template": {"type": "generate", "model": "m", "prompt": "hi"},
}
BEFORE = os.environ.get("OLLAMA_QUEUE_BEFORE", "HEAD^")


PREPARE = """
import sys
from ollama_queue.actors.store.postgres.schema import prepare
prepare(sys.argv[1])
"""


class ServerOfVersion(ServerOfFleet):
    """Runs the code of a folder, the next of `codes`."""

    def __init__(self, codes: Iterator[Path], *arguments: Any) -> None:
        super().__init__(*arguments)
        self.code = next(codes)

    def command(self) -> list[str | Path]:
        command = super().command()
        at = command.index("-m")
        return [*command[:at], "-P", *command[at:]]  # or the folder we are in would come first

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PYTHONPATH": str(self.code)}


@pytest.fixture(scope="module")
def before() -> Iterator[Path]:
    """The code of the version before."""
    if has(BEFORE):
        with checked_out(BEFORE) as code:
            yield code
    else:
        yield ROOT


@pytest.fixture
def conninfo(database: PostgresServer) -> Iterator[str]:
    with database.queue() as made:
        yield made


def preparing(code: Path, conninfo: str) -> "subprocess.Popen[str]":
    """A process of a version that makes the tables, or brings them up to date."""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", PREPARE, conninfo],
        env={**os.environ, "PYTHONPATH": str(code)},
        stderr=subprocess.PIPE,
        text=True,
    )


def formats(conninfo: str) -> tuple[int, bytes]:
    """Of the tables, and of the records in them."""
    with psycopg.connect(conninfo) as connection:
        marks = "SELECT value FROM marks WHERE name = 'schema'"
        meta = "SELECT value FROM meta WHERE key = 'format'"
        ((schema,),) = connection.execute(marks).fetchall()
        ((records,),) = connection.execute(meta).fetchall()
    return schema, records


def test_servers_are_upgraded_one_by_one(
    before: Path, conninfo: str, model: FakeOllama, tmp_path: Path
) -> None:
    _, error = preparing(before, conninfo).communicate()
    assert error == ""
    fleet = ServersOfQueue(
        tmp_path,
        model.url,
        conninfo,
        size=2,
        settings="server: {shutdown_grace: 100ms}\n",
        make=partial(ServerOfVersion, iter([before, ROOT])),
    )
    fleet.keep_journal()
    old, new = fleet.servers
    with old:
        assert fleet.leader() is old
        old_formats = formats(conninfo)
        with new, fleet.ready(new) as client:
            made = use(client, model)
            assert fleet.leader() is old
            assert old.terminate() == 0
            assert fleet.leader() is new
            check(client, made)
            go_back(fleet, old_formats == formats(conninfo))
    check_ends(fleet.versions())


def use(client: Client, model: FakeOllama) -> list[str]:
    """Have the queue do a bit of everything; returns the tasks, of which one runs and some wait."""
    done = client.submit_task(chat_task("m", [{"role": "user", "content": "hi"}]))
    assert client.wait(done, timeout=PATIENCE_S).status is Status.COMPLETED
    client.add_cron_task(CRON)
    model.script(Hang())
    count = len(model.calls)
    runs = client.submit_task(generate("m", "hi"))
    model.wait_for_calls(count + 1, timeout=PATIENCE_S)
    client.pause()
    batch = client.submit_batch([generate("m", "hi") for _ in range(20)])
    return [done, runs, *batch.task_ids]


def check(client: Client, made: list[str]) -> None:
    """The server that leads now goes on with all of it."""
    assert [cron.name for cron in client.list_cron_tasks()] == [CRON["name"]]
    assert client.get_queue_stats().paused
    client.resume()
    for task_id in made:
        assert client.wait(task_id, timeout=PATIENCE_S).status is Status.COMPLETED


def go_back(fleet: ServersOfQueue, is_same_format: bool) -> None:
    """The old one may take over again, unless the new one has changed what is stored."""
    old, new = fleet.servers
    if not is_same_format:
        with pytest.raises(RuntimeError, match="use a newer version"):
            old.start()
        return
    old.start()
    with fleet.ready(old) as client:
        before = client.submit_task(generate("m", "hi"))
        assert fleet.leader() is new
        assert new.terminate() == 0
        assert fleet.leader() is old
        after = client.submit_task(generate("m", "hi"))
        for task_id in (before, after):
            assert client.wait(task_id, timeout=PATIENCE_S).status is Status.COMPLETED


def test_both_versions_may_start_together(before: Path, conninfo: str) -> None:
    started = [preparing(code, conninfo) for code in (before, ROOT, before, ROOT)]
    errors = [process.communicate()[1] for process in started]

    assert errors[1] == errors[3] == ""
    for error in (errors[0], errors[2]):
        assert error == "" or "use a newer version" in error
    with psycopg.connect(conninfo) as connection:
        assert connection.execute("SELECT epoch FROM leader").fetchall() == [(0,)]
        number = connection.execute("SELECT value FROM marks WHERE name = 'schema'").fetchall()
    assert number == [(len(MIGRATIONS),)]
