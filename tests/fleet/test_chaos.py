"""Four servers under load while they are killed, stopped and cut off, and PostgreSQL restarts."""

import os
import random
import threading
from collections import Counter
from pathlib import Path
from time import monotonic

from ollama_queue import Client, QueueError, Status
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.fleet import ServerOfFleet, ServersOfQueue, check_ends, check_order
from tests.support.servers.postgres import PostgresServer
from tests.system.crashes.test_kill9 import WORKERS, Load, all_tasks, behave

SECONDS = float(os.environ.get("OLLAMA_QUEUE_CHAOS", "20"))
SEED = int(os.environ.get("OLLAMA_QUEUE_SEED", random.randrange(1 << 32)))
SERVERS = 4
USERS = 4
SILENCE_S = 60.0  # generous: a server that starts takes several seconds on a busy machine


class FleetLoad(Load):
    """Users who take another server for each task."""

    def __init__(self, urls: list[str], seed: int) -> None:
        super().__init__(urls[0], seed)
        self.urls = urls
        self.slowest_s = 0.0  # from a user's first try until something was acknowledged

    def user(self, number: int) -> None:
        count, since = 0, monotonic()
        while not self.over.is_set():
            count += 1
            with Client(self.chance.choice(self.urls), timeout=10) as client:
                try:
                    self.act(client, f"user{number}-{count}")
                except QueueError:
                    self.over.wait(0.02)
                    continue
            now = monotonic()
            with self.lock:
                self.slowest_s = max(self.slowest_s, now - since)
            since = now


class Monkey:
    """Does one harm after the other."""

    def __init__(
        self, fleet: ServersOfQueue, database: PostgresServer, chance: random.Random
    ) -> None:
        self.fleet, self.database, self.chance = fleet, database, chance
        self.stopped: dict[ServerOfFleet, float] = {}  # or parted from PostgreSQL: until when
        self.done: Counter[str] = Counter()

    def act(self) -> None:
        self.wake_those_due(monotonic())
        others = [each for each in self.fleet.servers if each not in self.stopped]
        server = self.chance.choice(others)
        harms = ["kill", "kill", "stop", "stop", "part", "part", "terminate", "cut", "restart"]
        harm = self.chance.choice(harms)
        if len(others) < SERVERS - 1 and harm in ("kill", "stop", "part", "terminate"):
            harm = "cut"
        self.done[harm] += 1
        match harm:
            case "kill":
                server.kill()
                server.start()
            case "terminate":
                server.terminate()
                server.start()
            case "stop":
                server.stop_running()
                self.stopped[server] = monotonic() + self.chance.uniform(1.0, 10.0)
            case "part":
                server.to_database.cut()
                self.stopped[server] = monotonic() + self.chance.uniform(1.0, 10.0)
            case "cut":
                self.database.cut()
            case "restart":
                self.database.restart()

    def wake_those_due(self, now: float) -> None:
        for server, due in tuple(self.stopped.items()):
            if due <= now:
                server.go_on()
                server.to_database.heal(forgets=self.chance.random() < 0.5)
                del self.stopped[server]


def test_chaos(database: PostgresServer, tmp_path: Path) -> None:
    print(f"seed {SEED} (OLLAMA_QUEUE_SEED), {SECONDS:g} s (OLLAMA_QUEUE_CHAOS)")
    chance = random.Random(SEED)
    with (
        FakeOllama(behave) as model,
        database.queue() as conninfo,
        ServersOfQueue(
            tmp_path,
            model.url,
            conninfo,
            size=SERVERS,
            workers=WORKERS,
            settings="server: {shutdown_grace: 2s}\n",
            linked_to=database,
        ) as fleet,
    ):
        load = FleetLoad([server.base_url for server in fleet.servers], SEED + 1)
        users = [threading.Thread(target=load.user, args=(n,)) for n in range(USERS)]
        for user in users:
            user.start()
        monkey = Monkey(fleet, database, chance)
        end = monotonic() + SECONDS
        try:
            while monotonic() < end:
                load.over.wait(chance.uniform(0.5, 2.0))
                monkey.act()
        finally:
            load.over.set()
            monkey.wake_those_due(float("inf"))
            for user in users:
                user.join()
        print(f"{dict(monkey.done)}, {fleet.epoch()} leads, slowest {load.slowest_s:.1f} s")
        with fleet.ready(fleet.leader()) as client:
            check_the_end(client, load, fleet)
    assert model.peak <= WORKERS, "more calls at once than `parallel`"
    assert load.slowest_s < SILENCE_S


def check_the_end(client: Client, load: FleetLoad, fleet: ServersOfQueue) -> None:
    tasks = {task_id: client.wait(task_id, timeout=120) for task_id in all_tasks(client)}
    print(f"{len(load.acknowledged)} acknowledged of {len(tasks)}, {len(load.cancelled)} cancelled")

    assert load.acknowledged, "nothing was acknowledged"
    assert load.acknowledged <= tasks.keys(), "acknowledged, and lost"
    for task_id, attempts in load.cancelled.items():
        assert tasks[task_id].status is Status.CANCELLED
        assert tasks[task_id].attempt == attempts, "started after its cancel"
    versions = fleet.versions()
    assert versions.keys() == tasks.keys()
    check_ends(versions)
    print(f"{check_order(fleet.groups())} starts in order")
    stats = client.get_queue_stats()
    for status in Status:
        counted = sum(task.status is status for task in tasks.values())
        assert getattr(stats, f"{status}_tasks") == counted
    for task in tasks.values():
        assert len({each.attempt for each in task.attempts}) == len(task.attempts)
