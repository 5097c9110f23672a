"""What is stored is read at every door, whatever the leader does; nothing else is made up there."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from ollama_queue import Client, NotFound, QueueManager, Status, Unavailable
from ollama_queue import generate_task as generate
from ollama_queue.actors.base.actor import tell
from ollama_queue.actors.core.messages import Scanned
from ollama_queue.actors.settings.settings import load
from tests.support.fakes.behaviours import Hang
from tests.support.fakes.model_server import FakeOllama
from tests.support.harness.belongings import Belongings, plain, unknown_like
from tests.support.harness.fleet_house import KEYS, SLOW, FleetHouse, routes_anywhere
from tests.support.harness.tenants import ANN, BOB, OPS
from tests.support.servers.fleet import ServersOfQueue
from tests.support.servers.postgres import PostgresServer

# Longer than a test lasts: nobody else takes the lead of a server that is stopped.
LONG_TTL_S = 15.0


@pytest.fixture
def steady(database: PostgresServer, model: FakeOllama, tmp_path: Path) -> Iterator[ServersOfQueue]:
    """A fleet whose leader stays the leader when it is stopped."""
    with (
        database.queue() as conninfo,
        ServersOfQueue(tmp_path, model.url, conninfo, size=2, ttl_s=LONG_TTL_S) as servers,
    ):
        yield servers


def paths_of(mine: Belongings) -> list[str]:
    """A path of each route that every server answers, with what it shows."""
    ids = {
        "/api/tasks/": mine.task,
        "/api/batches/": mine.batch,
        "/api/cron/": mine.cron,
        "/v1/files/": mine.file,
        "/v1/batches/": mine.job,
        "/v1/messages/batches/": mine.messages,
        "/v1/responses/": mine.response,
    }
    return [
        re.sub("<.*?>", lambda _, rule=route.rule: ids[rule[: rule.index("<")]], route.rule)
        for route in routes_anywhere()
    ]


def facts(answer: httpx.Response) -> Any:
    """An answer without what differs each time."""
    text = re.sub(r'"lag_s":[\d.]+', "", answer.text)
    headers = {name: answer.headers.get(name) for name in ("Content-Type", "Link", "X-Total-Count")}
    return answer.status_code, headers, text


def ended(house: FleetHouse, mine: Belongings) -> None:
    """Let all tasks and batches end."""
    house.queue.resume()
    with house.client(ANN) as http:
        while http.get(f"/v1/batches/{mine.job}").json()["status"] != "completed":
            house.queue.get_queue_stats()
        while http.get(f"/v1/messages/batches/{mine.messages}").json()["ended_at"] is None:
            house.queue.get_queue_stats()
    for task in house.queue.list_tasks():
        house.queue.wait(task.id, timeout=30)


def test_all_that_is_stored_is_shown_while_the_leader_is_stopped(steady: ServersOfQueue) -> None:
    house = FleetHouse(steady)
    mine = Belongings(house)
    ended(house, mine)
    # Which server has the pieces of a reply is known while somebody leads.
    paths = [path for path in paths_of(mine) if not path.endswith("/stream")]
    paths += ["/api/tasks?limit=2", "/api/tasks?status=completed&sort=ended&include=result"]

    with house.follower.client() as client:
        steady.until(lambda: [each.leads for each in client.list_servers()] == [True, False])
        steady.until(lambda: len(house.queue.list_servers()) == 2)
    epoch = steady.epoch()
    with httpx.Client(base_url=house.leader.base_url, timeout=30) as http:
        wanted = {path: facts(http.get(path)) for path in paths}
    house.leader.stop_running()
    with house.client(None) as http:
        found = {path: facts(http.get(path)) for path in paths}
    house.leader.go_on()

    assert steady.epoch() == epoch, "nobody else has led"
    assert len(paths) > 15
    assert found == wanted
    assert {status for status, _, _ in found.values()} == {200}


def test_what_was_acknowledged_anywhere_is_read_everywhere(fleet: ServersOfQueue) -> None:
    doors = [server.client() for server in fleet.servers]
    failures: list[str] = []

    def use(first: int) -> None:
        for turn in range(15):
            here, there, third = (doors[(first + turn + n) % 3] for n in range(3))
            task_id = here.submit_task(generate("m", "hi", tags=[f"t{first}-{turn}"]))
            if there.get_task(task_id).id != task_id:
                failures.append("not there")
            here.wait(task_id, timeout=30)
            if there.get_task(task_id).status is not Status.COMPLETED:
                failures.append("not ended")
            page = third.list_page({"tag": [f"t{first}-{turn}"], "status": ["completed"]})
            if [task.id for task in page.tasks] != [task_id]:
                failures.append("not listed")
            third.delete_task(task_id)
            try:
                here.get_task(task_id)
                failures.append("not deleted")
            except NotFound:
                pass

    threads = [threading.Thread(target=use, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert [door.list_page({"status": ["completed"]}).total for door in doors] == [0, 0, 0]


def test_what_history_has_told_outlives_the_leader(fleet: ServersOfQueue) -> None:
    leader, follower = fleet.leader(), fleet.followers()[0]

    def counted() -> tuple[int, int]:
        with fleet.ready(follower) as client:
            completed = sum(period.completed for period in client.get_history())
            return client.get_usage().rows[0].completed, completed

    def is_stored() -> bool:
        with fleet.connection() as connection:
            query = b"SELECT 1 FROM meta WHERE encode(key, 'escape') LIKE 'history:day:%'"
            return connection.execute(query).fetchone() is not None

    with follower.client() as client:
        client.wait(client.submit_task(generate("m", "hi")), timeout=30)
    before = counted()
    fleet.until(is_stored)  # though nothing else happens

    leader.kill()
    fleet.until(lambda: fleet.leader() is not leader)

    assert (before, counted()) == ((1, 1), (1, 1))


def test_what_the_plan_knows_is_shown_by_each_server(
    fleet: ServersOfQueue, model: FakeOllama
) -> None:
    house = FleetHouse(fleet)
    house.queue.pause()
    ids = [house.queue.submit_task(generate("m", "hi")) for _ in range(3)]

    with house.follower.client() as client:
        last = client.get_task(ids[2])
        assert (last.position, last.waiting_for) == (2, "paused")
        assert [task.position for task in client.list_tasks()] == [2, 1, 0]
        assert client.list_page({"waiting_for": ["paused"]}).total == 3
        model.default = Hang()  # each of the three starts
        house.queue.resume()
        model.wait_for_calls(1)
        assert client.get_task(ids[0]).status is Status.RUNNING


def test_other_settings_are_no_reason_to_answer_otherwise(
    database: PostgresServer, model: FakeOllama, tmp_path: Path
) -> None:
    """Those of the leader hold: a server with others passes everything on."""
    with (
        database.queue() as conninfo,
        ServersOfQueue(tmp_path, model.url, conninfo, size=2) as servers,
    ):
        follower = servers.followers()[0]
        follower.kill()
        follower.config.write_text(f"{follower.config.read_text()}auth:\n  keys:\n{KEYS}")
        follower.start()

        answer = httpx.get(f"{follower.base_url}/api/tasks", timeout=30)

        assert (answer.status_code, answer.json()) == (200, [])


def test_tenants_find_nothing_of_each_other(locked: ServersOfQueue) -> None:
    house = FleetHouse(locked, OPS)
    ann = Belongings(house)
    house.queue.cancel_task(ann.task)
    paths = paths_of(ann)

    with house.client(BOB) as bob, house.client(ANN) as own:
        for path in paths:
            if "audit" in path or "servers" in path:
                assert bob.get(path).status_code == 403
                continue
            belonging = next((each for each in ann.ids if each in path), None)
            answer = bob.get(path)
            if belonging is None:
                assert ann.task not in answer.text and "anns-secret" not in answer.text
                continue
            other = unknown_like(belonging)
            missing = bob.get(path.replace(belonging, other))
            assert plain(answer, belonging) == plain(missing, other), path
            assert own.get(path).status_code in (200, 400), path


def test_a_feed_shows_a_tenant_its_own(locked: ServersOfQueue) -> None:
    house = FleetHouse(locked, OPS)
    house.queue.pause()
    task = {"type": "generate", "model": "m", "prompt": "x"}
    with house.client(BOB) as bob, house.client(ANN) as ann:
        ann.post("/api/tasks", json=task)
        with bob.stream("GET", "/api/events") as feed:
            lines = (line for line in feed.iter_lines() if line.startswith("data: "))
            snapshot = json.loads(next(lines).removeprefix("data: "))
            ann.post("/api/tasks", json=task)
            own = bob.post("/api/tasks", json=task).json()["task_id"]
            event = json.loads(next(lines).removeprefix("data: "))

    assert (snapshot["tasks"], snapshot["stats"]["pending_tasks"]) == ([], 0)
    assert event["task"]["id"] == own


def test_a_key_that_is_added_or_revoked_is_so_at_each_door(locked: ServersOfQueue) -> None:
    house = FleetHouse(locked, OPS)

    def status(key: str | None) -> int:
        with house.client(key) as http:
            return http.get("/api/batches").status_code

    with Client(house.follower.base_url, api_key=OPS) as ops:
        key = ops.add_key({"name": "new", "role": "reader"}).key
        assert status(key) == 200  # at once
        assert (status(None), status("oq_wrong")) == (401, 401)
        ops.revoke_key("new")
        locked.until(lambda: status(key) == 401)


def test_the_rate_of_a_key_is_counted_once_for_all_doors(locked: ServersOfQueue) -> None:
    doors = [server.base_url for server in locked.servers]

    statuses = [
        httpx.get(f"{doors[n % 2]}/api/batches", headers={"Authorization": f"Bearer {SLOW}"})
        for n in range(8)
    ]

    assert [each.status_code for each in statuses] == [200] * 3 + [429] * 5


def test_a_program_reads_too_and_its_reader_is_replaced(
    fleet: ServersOfQueue,
) -> None:
    with fleet.leader().client() as client:
        task_id = client.submit_task(generate("m", "hi"))
        client.wait(task_id, timeout=30)
    settings = fleet.servers[0].config  # the same: they hold those of the leader
    config = load(
        str(settings),
        {"QUEUE_STORAGE": fleet.conninfo, "FLEET_TTL": f"{fleet.servers[0].ttl_s}s"},
        {},
    )

    with QueueManager(config) as queue:
        readers = []
        for _ in range(4):
            fleet.until(lambda: reads(queue, task_id))
            readers.append(queue._switchboard.readable().persistence)
            tell(readers[-1], Scanned(-1, None, None))  # it has asked nothing
            fleet.until(lambda: queue._switchboard.may_read is (len(readers) < 4))
        assert len(set(readers)) == 4
        with pytest.raises(Unavailable, match="another server leads"):
            queue.get_task(task_id)


def reads(queue: QueueManager, task_id: str) -> bool:
    with suppress(Unavailable):
        return queue.get_task(task_id).status is Status.COMPLETED
    return False
