"""Reader: it answers as the leader's actors do, with what is stored at that moment."""

from collections.abc import Iterator
from queue import Queue
from typing import Any, get_args

import pytest

from ollama_queue import NotFound, Unavailable
from ollama_queue.actors.base.actor import Ref, ask, start, stop
from ollama_queue.actors.core.intake.reports import audit_query
from ollama_queue.actors.core.messages import (
    GetBatch,
    GetCron,
    GetDelivery,
    GetFile,
    GetTask,
    GetTenants,
    ListBatches,
    ListCrons,
    ListDeliveries,
    ListFiles,
    ListJobs,
    ListTasks,
    ReadAudit,
)
from ollama_queue.actors.core.messages.reader import Read
from ollama_queue.actors.core.model.errors import QueueError
from ollama_queue.actors.core.model.files import StoredFile, id_of_file
from ollama_queue.actors.core.model.orders import Remove, SaveCron, SaveFile
from ollama_queue.actors.core.model.task_filter import TaskFilter
from ollama_queue.actors.core.model.tasks import Status
from ollama_queue.actors.fleet.reader import Reader
from ollama_queue.actors.store.postgres.connections import connect
from ollama_queue.actors.store.postgres.store import PostgresStore
from tests.support.harness.cron_ticker import a_cron
from tests.support.harness.persistence import PersistenceHarness
from tests.support.recorders import PATIENCE_S, START, completed, insert, started, task_id
from tests.support.stores import KeptStore, NewStores

FILE = StoredFile(
    id=id_of_file("1" * 32), filename="a", purpose="batch", size=1, created_at=START, tenant="ann"
)
AUDIT = audit_query(None, None, None, None, None, 10, None, None)
ASKED: list[Any] = [
    GetTask(task_id(1)),
    GetTask(task_id(2)),
    GetTask(task_id(9)),
    GetTenants((task_id(1), task_id(2), task_id(9))),
    ListTasks(TaskFilter()),
    ListTasks(TaskFilter(status=[Status.COMPLETED], include=["result"])),
    ListTasks(TaskFilter(tenant=["ann"])),
    ListTasks(TaskFilter(cursor="bad")),
    GetBatch("any"),
    ListBatches(5),
    ListBatches(5, "ann"),
    ListJobs(5),
    GetFile(FILE.id),
    GetFile(id_of_file("2" * 32)),
    ListFiles(5),
    ListFiles(5, tenant="bob"),
    ListFiles(5, after=id_of_file("2" * 32)),
    GetDelivery("msg_0"),
    ListDeliveries(5),
    ReadAudit(AUDIT),
]


@pytest.fixture
def place(stores: NewStores) -> KeptStore:
    return stores.new("PostgreSQL")


@pytest.fixture
def leader(place: KeptStore) -> Iterator[PersistenceHarness]:
    made = PersistenceHarness(place)
    yield made
    made.close()


@pytest.fixture
def reader(leader: PersistenceHarness, place: KeptStore) -> Iterator[Ref]:
    crashes: Queue[str] = Queue()
    ref = start(Reader, crashes.put, open_store=lambda: PostgresStore(place.place))
    yield ref
    assert stop(ref, PATIENCE_S)
    assert crashes.empty()


def outcome(answer: Any) -> Any:
    try:
        return answer()
    except QueueError as error:
        return type(error), error.message, error.field


def test_it_answers_as_persistence_does(leader: PersistenceHarness, reader: Ref) -> None:
    leader.saved(insert(1), started(1), completed(1), insert(2, tenant="ann"), SaveFile(FILE))

    for command in ASKED:
        future = leader.ask(command)
        while leader.scanner.waiting:
            leader.scanner.run()
        wanted = outcome(lambda future=future: future.get(PATIENCE_S))
        assert outcome(lambda command=command: ask(reader, command)) == wanted, command


def test_crons_are_as_they_were_saved(leader: PersistenceHarness, reader: Ref) -> None:
    cron = a_cron()
    leader.saved(SaveCron(cron, "cron_added"))

    assert ask(reader, ListCrons()) == [cron]
    assert ask(reader, GetCron(cron.id)) == cron
    with pytest.raises(NotFound, match="there is no cron none"):
        ask(reader, GetCron("none"))


def test_each_message_is_among_these() -> None:
    assert {type(each) for each in ASKED} | {ListCrons, GetCron} == set(get_args(Read))


def test_counts_are_those_of_now(leader: PersistenceHarness, reader: Ref) -> None:
    everyone, ann = ListTasks(TaskFilter()), ListTasks(TaskFilter(tenant=["ann"]))
    leader.saved(insert(1), insert(2, tenant="ann"))
    assert (ask(reader, everyone).total, ask(reader, ann).total) == (2, 1)

    leader.saved(insert(3, tenant="ann"))
    assert (ask(reader, everyone).total, ask(reader, ann).total) == (3, 2)

    leader.saved(Remove(task_id(1)), Remove(task_id(2)))
    assert (ask(reader, everyone).total, ask(reader, ann).total) == (1, 1)


def test_what_is_not_durable_is_not_there(leader: PersistenceHarness, reader: Ref) -> None:
    leader.commit(insert(1))
    with pytest.raises(NotFound):
        ask(reader, GetTask(task_id(1)))

    leader.sync()
    assert ask(reader, GetTask(task_id(1))).record.id == task_id(1)


def test_a_database_that_refuses_is_an_answer(
    leader: PersistenceHarness, reader: Ref, place: KeptStore
) -> None:
    leader.saved(insert(1))
    with connect(place.place) as connection:
        connection.execute("ALTER TABLE tasks RENAME TO others")
        for command in (GetTask(task_id(1)), ListTasks(TaskFilter())):
            with pytest.raises(Unavailable, match=r"PostgreSQL has refused .*: relation"):
                ask(reader, command)
        connection.execute("ALTER TABLE others RENAME TO tasks")

    assert ask(reader, GetTask(task_id(1))).record.id == task_id(1)
