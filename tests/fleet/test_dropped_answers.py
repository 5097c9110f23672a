"""PostgreSQL carries a statement out, and its answer is lost with the connection."""

import random
import threading
from collections import Counter
from pathlib import Path

from ollama_queue import generate_task as generate
from tests.fleet.test_chaos import SEED, FleetLoad, check_the_end
from tests.fleet.test_takeovers import check_completed
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.fleet import PATIENCE_S, ServersOfQueue
from tests.support.servers.postgres import PostgresServer
from tests.system.crashes.test_kill9 import all_tasks, behave

SAVE, KEEP, LEAD, READ = (
    "put_tasks AS",
    "SET seen_at = clock",
    "SET epoch = epoch + 1",
    "FROM index",
)
ROUNDS = 8  # of losses under load


class Loss:
    """Loses the answer of the next statement that contains `words`."""

    def __init__(self, words: str) -> None:
        self._words, self._lock = words, threading.Lock()
        self.happened = threading.Event()

    def __call__(self, statement: str) -> bool:
        with self._lock:
            loses = self._words in statement and not self.happened.is_set()
            if loses:
                self.happened.set()
        return loses


def test_answers_to_the_leader_are_lost(linked: ServersOfQueue) -> None:
    """The client has sent an Idempotency-Key: it gets its task, and no second one."""
    with linked.ready(linked.followers()[0]) as client:
        ids = []
        for words in (SAVE, KEEP, READ):
            loss = linked.leader().to_database.loses = Loss(words)
            ids.append(client.submit_task(generate("m", words)))
            client.list_tasks()
            assert loss.happened.wait(PATIENCE_S), words
        check_completed(linked, client, ids)
        assert all_tasks(client).keys() == set(ids)


def test_the_answer_to_a_takeover_is_lost(linked: ServersOfQueue) -> None:
    """A server that does not know that it leads takes the lead again."""
    leader, followers = linked.leader(), linked.followers()
    with linked.ready(followers[0]) as client:
        ids, epoch = [client.submit_task(generate("m", "before"))], linked.epoch()
        for follower in followers:
            follower.to_database.loses = lambda statement: (
                LEAD in statement and linked.epoch() < epoch + 3
            )
        leader.kill()
        ids.append(client.submit_task(generate("m", "after")))
        assert linked.epoch() >= epoch + 3
        check_completed(linked, client, ids)
        assert all_tasks(client).keys() == set(ids)


def test_answers_are_lost_under_load(database: PostgresServer, tmp_path: Path) -> None:
    print(f"seed {SEED} (OLLAMA_QUEUE_SEED)")
    chance = random.Random(SEED)
    with (
        FakeOllama(behave) as model,
        database.queue() as conninfo,
        ServersOfQueue(tmp_path, model.url, conninfo, linked_to=database) as fleet,
    ):
        load = FleetLoad([server.base_url for server in fleet.servers], SEED + 1)
        users = [threading.Thread(target=load.user, args=(n,)) for n in range(4)]
        for user in users:
            user.start()
        lost: Counter[str] = Counter()
        try:
            for _ in range(ROUNDS):
                words = chance.choice([SAVE, KEEP])
                loss = fleet.leader().to_database.loses = Loss(words)
                lost[words] += loss.happened.wait(5.0)
        finally:
            load.over.set()
            for user in users:
                user.join()
        print(f"lost: {dict(lost)}, {fleet.epoch()} leads, slowest {load.slowest_s:.1f} s")
        with fleet.ready(fleet.leader()) as client:
            check_the_end(client, load, fleet)
