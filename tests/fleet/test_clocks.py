"""Servers whose clocks are an hour apart: who leads does not depend on them, ids still ascend."""

from pathlib import Path

from ollama_queue import generate_task as generate
from tests.fleet.test_takeovers import check_completed
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.fleet import ServersOfQueue
from tests.support.servers.postgres import PostgresServer

(FAKETIME,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
CLOCKS = ("+1h", "-1h", "+0")


def test_a_server_s_clock_is_wrong(
    database: PostgresServer, model: FakeOllama, tmp_path: Path
) -> None:
    with database.queue() as conninfo:
        fleet = ServersOfQueue(tmp_path, model.url, conninfo)
        for server, clock in zip(fleet.servers, CLOCKS, strict=True):
            server.more_environment = {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME": clock,
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        with fleet:
            ids: list[str] = []
            for count in (3, 6, 9):
                leader, epoch = fleet.leader(), fleet.epoch()
                with fleet.ready(leader) as client:
                    ids += [client.submit_task(generate("m", "hi")) for _ in range(3)]
                    fleet.see_beats(2)
                    check_completed(fleet, client, ids)
                    listed = [task.id for task in client.list_tasks()]
                assert fleet.epoch() == epoch, "another server took the lead"
                assert sorted(ids) == ids == listed[::-1]
                if count < 9:
                    leader.kill()
                    fleet.await_epoch(epoch + 1)
