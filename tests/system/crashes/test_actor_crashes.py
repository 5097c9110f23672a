"""Each actor ends before and after each of its messages, and the queue goes on.

The messages are read off the actors' unions, so that a new one is covered by itself.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from msgspec.structs import replace

from ollama_queue import NotFound, Status, Unavailable
from ollama_queue.actors import prober
from ollama_queue.actors.base.actor import Actor, tell
from ollama_queue.actors.batch_runner import BatchRunner
from ollama_queue.actors.core import messages
from ollama_queue.actors.core.activity.audit import Origin, audit_note
from ollama_queue.actors.core.intake.reports import audit_query, usage_query
from ollama_queue.actors.core.intake.submission import draft, generate_task
from ollama_queue.actors.core.messages import event_bus, persistence
from ollama_queue.actors.core.messages import prober as prober_messages
from ollama_queue.actors.core.messages import scheduler as scheduler_messages
from ollama_queue.actors.core.model.access_keys import AccessKey, Role
from ollama_queue.actors.core.model.events import EventRecord
from ollama_queue.actors.core.model.orders import KeepModel
from ollama_queue.actors.core.plan import dispatch
from ollama_queue.actors.cron_ticker import CronTicker
from ollama_queue.actors.event_bus import EventBus
from ollama_queue.actors.persistence import Persistence
from ollama_queue.actors.prober import Prober
from ollama_queue.actors.scheduler import Scheduler
from ollama_queue.actors.store.rocksdb import Store
from ollama_queue.actors.supervision import generation
from ollama_queue.actors.supervision.system import MAX_REBOOTS
from ollama_queue.actors.sweeper import Sweeper
from ollama_queue.actors.worker import Worker
from tests.support.harness.crashes import PATIENCE_S, Crash, CrashHarness, Fuse, count_ends, use
from tests.support.harness.cron_ticker import ABOUT_CRONS, a_cron
from tests.support.recorders import START, ManualPool, Recorder

TAKES = {
    EventBus: messages.ToEventBus,
    Persistence: messages.ToPersistence,
    Scheduler: messages.ToScheduler,
    Worker: messages.ToWorker,
    CronTicker: messages.ToCronTicker,
    Prober: messages.ToProber,
    Sweeper: messages.ToSweeper,
    BatchRunner: messages.ToBatchRunner,
}
CASES = [
    pytest.param(actor, kind, moment, id=f"{actor.__name__}-{moment}-{kind.__name__}")
    for actor, union in TAKES.items()
    for kind in (get_origin(each) or each for each in get_args(union) or (union,))
    for moment in ("before", "after")
]
AUDIT = audit_query(None, None, None, None, None, 1, None, None)
USAGE = usage_query(None, None, None, None, START.timestamp())
# What using the queue does not bring about is sent by hand.
BY_HAND = {
    messages.Wake: messages.Wake(),
    messages.SubmitCronRun: messages.SubmitCronRun(
        draft(generate_task("m", "for nobody", backend="nowhere")), a_cron(), Recorder(), True
    ),
    messages.CloseSubscriptions: messages.CloseSubscriptions("restarted"),
    messages.Recover: messages.Recover(),
    messages.StreamEnded: messages.StreamEnded("any", 1),
    messages.LendStream: messages.LendStream("any", 1, Recorder()),
    messages.ReturnStream: messages.ReturnStream(messages.LendStream("any", 1, Recorder())),
    messages.CallsPlaced: messages.CallsPlaced(),
    messages.RelayEnded: messages.RelayEnded("any", 1, is_complete=True),
    messages.ServersSeen: messages.ServersSeen({}),
    messages.CallsEnded: messages.CallsEnded(()),
    messages.WorkerLost: messages.WorkerLost(0, 0, "by hand"),
    messages.CallCrashed: messages.CallCrashed("by hand"),
    messages.Drain: messages.Drain(0.0),
    messages.CheckCapacity: messages.CheckCapacity(1, 1),
    messages.GetWaitReasons: messages.GetWaitReasons(),
    messages.FindExpired: messages.FindExpired(0, None),
    messages.AddAudit: messages.AddAudit(audit_note("pause", "", "", Origin())),
    messages.Expired: messages.Expired((), None),
    messages.Swept: messages.Swept("any"),
    messages.FindExpiredFiles: messages.FindExpiredFiles(START),
    messages.FindForgottenBatches: messages.FindForgottenBatches(START),
    messages.ExpiredFiles: messages.ExpiredFiles(()),
    messages.ForgottenBatches: messages.ForgottenBatches(()),
    messages.TaskStopped: messages.TaskStopped("any"),
    messages.DeleteBatch: messages.DeleteBatch("any", ()),
    scheduler_messages.AddAccessKey: scheduler_messages.AddAccessKey(
        AccessKey(name="ops", digest=b"d" * 32, hint="oq_", created_at=START, role=Role.ADMIN)
    ),
    scheduler_messages.RotateAccessKey: scheduler_messages.RotateAccessKey("ops", b"e" * 32, "oq_"),
    scheduler_messages.RevokeAccessKey: scheduler_messages.RevokeAccessKey("ops"),
    scheduler_messages.ListAccessKeys: scheduler_messages.ListAccessKeys(),
    scheduler_messages.GetBudgets: scheduler_messages.GetBudgets("any"),
    scheduler_messages.MeasurePlan: scheduler_messages.MeasurePlan(),
    scheduler_messages.ModelKept: scheduler_messages.ModelKept("ollama", "m"),
    scheduler_messages.ClaimKey: scheduler_messages.ClaimKey(b"k" * 16, b"b" * 16, "any"),
    KeepModel: KeepModel("ollama", "m"),
    prober_messages.LoadModel: prober_messages.LoadModel("ollama", "m"),
    messages.EndedDeliveries: messages.EndedDeliveries(()),
    messages.WatchDeliveries: messages.WatchDeliveries(Recorder()),
    messages.FindDueDeliveries: messages.FindDueDeliveries(START),
    messages.GetDelivery: messages.GetDelivery("msg_0"),
    messages.ListDeliveries: messages.ListDeliveries(1),
    messages.MeasureWebhooks: messages.MeasureWebhooks(),
    messages.FindEndedDeliveries: messages.FindEndedDeliveries(START, 0, 1),
    persistence.GetTenants: persistence.GetTenants(("any",)),
    persistence.MeasureDisk: persistence.MeasureDisk(),
    persistence.ListFailures: persistence.ListFailures(1),
    persistence.FailuresCounted: persistence.FailuresCounted(lambda: None, None, None),
    persistence.TakeSnapshot: persistence.TakeSnapshot(),
    persistence.ReadAudit: persistence.ReadAudit(AUDIT),
    persistence.ReadUsage: persistence.ReadUsage(USAGE),
    event_bus.GetUsage: event_bus.GetUsage(USAGE),
    event_bus.MeasureBus: event_bus.MeasureBus(frozenset()),
    event_bus.SaveHistory: event_bus.SaveHistory(Recorder()),
    **{type(message): message for message in ABOUT_CRONS},
}
ENDS_AS = {
    "well": {Status.COMPLETED},
    "stream": {Status.COMPLETED},
    "out": {Status.COMPLETED},
    "bad": {Status.FAILED},
    "hang": {Status.CANCELLED},
    "cancel": {Status.CANCELLED},
    "line": {Status.COMPLETED, Status.CANCELLED},
}


@pytest.fixture
def house(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[CrashHarness]:
    caplog.set_level(logging.CRITICAL + 1, "ollama_queue")
    for module in (dispatch, prober):
        monkeypatch.setattr(module, "probe_delay", lambda *_: 0.01)
    made = CrashHarness(tmp_path / "data")
    yield made
    made.close()


@pytest.mark.parametrize(("actor", "kind", "moment"), CASES)
def test_the_queue_goes_on(
    house: CrashHarness, monkeypatch: pytest.MonkeyPatch, actor: type[Actor], kind: Any, moment: str
) -> None:
    fuse = Fuse(actor, kind, moment)
    fuse.install(monkeypatch)
    ends = count_ends(monkeypatch)
    house.queue.start()
    before = house.generation()
    fuse.armed.set()

    use(house)
    if not fuse.burnt.is_set():
        tell(fuse.refs[-1], BY_HAND[kind])
        assert fuse.burnt.wait(PATIENCE_S)
    if actor is not Worker:
        house.rebooted(before)
    house.wait(house.submit("well"))

    assert (house.generation() is before) is (actor is Worker)
    assert not house.fatal.done()
    check_tasks(house, ends)


def check_tasks(house: CrashHarness, ends: Counter[str]) -> None:
    """Each accepted task has ended once, in a way that fits it, and nothing is left to do."""
    for task_id, kind in house.kinds.items():
        if kind == "gone":
            with pytest.raises(NotFound):
                house.queue.get_task(task_id)
        else:
            assert house.queue.get_task_status(task_id) in ENDS_AS[kind], kind
        assert ends[task_id] <= 1 + (house.retries if kind == "bad" else 0), kind
    stats = house.queue.get_queue_stats()
    gone = Counter(house.kinds.values())["gone"]
    assert (stats.total_tasks, stats.paused) == (len(house.kinds) - gone, False)

    house.close()
    store = Store(str(house.folder), None)
    recovered = store.recover()
    store.close()
    assert (recovered.waiting, recovered.running) == ([], [])


def crash_until_it_gives_up(house: CrashHarness, patch: pytest.MonkeyPatch) -> str:
    """The reason that it gave."""

    def broken(bus: EventBus, events: tuple[EventRecord, ...]) -> None:
        raise Crash("on purpose")

    house.queue.start()
    house.queue.pause()  # or the fourth crash would fail whatever runs at each of them
    patch.setattr(EventBus, "publish", broken)
    while not house.fatal.done():
        before = house.generation()
        with suppress(Unavailable):
            house.submit("well")
            house.rebooted(before)
    return house.fatal.result()


def test_a_queue_that_crashes_again_and_again_gives_up(
    house: CrashHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = crash_until_it_gives_up(house, monkeypatch)

    times = MAX_REBOOTS + 1
    assert reason == f"crashed {times} times within a minute, last EventBus: Crash: on purpose"
    for verb in (
        house.queue.get_queue_stats,
        house.queue.list_tasks,
        house.queue.pause,
        lambda: house.queue.wait("any"),
        lambda: list(house.queue.stream_task("any")),
    ):
        with pytest.raises(Unavailable, match="has stopped: crashed"):
            verb()


def test_what_was_accepted_outlives_giving_up(
    house: CrashHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash_until_it_gives_up(house, monkeypatch)
    house.queue.close(grace_s=0)
    monkeypatch.undo()

    house.queue.start().resume()

    assert house.kinds
    for task_id in house.kinds:
        house.wait(task_id)
        assert house.queue.get_task_status(task_id) is Status.COMPLETED


def test_a_crash_at_the_start_is_told_and_lets_go_of_the_folder(
    house: CrashHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    fuse = Fuse(Persistence, messages.Recover, "after")
    fuse.install(monkeypatch)
    fuse.armed.set()

    with pytest.raises(Unavailable):
        house.queue.start()

    house.queue.start()
    house.wait(house.submit("well"))


def test_a_disk_that_does_not_answer_at_the_end_is_reported(
    house: CrashHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "CLOSE_PATIENCE_S", 0.1)
    hung = ManualPool()
    hung.hangs = True
    house.queue._runtime = replace(house.queue._runtime, pools=lambda: (hung, ManualPool()))
    house.queue.start()

    house.queue.close(grace_s=0)

    assert "store could not be closed" in house.fatal.result(PATIENCE_S)
    with pytest.raises(Unavailable):
        house.queue.get_queue_stats()
