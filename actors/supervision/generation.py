"""One generation of actors: started bottom up, stopped top down."""

import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from msgspec import Struct

from ..base.actor import Ref, ask, start, stop, tell
from ..base.cooperation import YieldControl, never_yield
from ..base.relayed_streams import OpenRelay
from ..base.thread_pool import InlinePool, Pool
from ..batch_runner import BatchRunner
from ..batch_steps import StepTools
from ..core.config.config import Backend, Config
from ..core.config.webhook_values import networks
from ..core.messages import CloseSubscriptions, Commit, Drain, Recover, SaveHistory
from ..core.messages.replies import Recovered
from ..core.model.ids import mint
from ..core.plan.plan import Plan
from ..core.plan.settle import utc
from ..core.routing.placement import gates_of
from ..core.webhooks.rules import DeliveryRules
from ..cron_ticker import CronTicker
from ..event_bus import EventBus
from ..executors import Executor, create_webhook_caller
from ..files.blobs import BlobFolder, Blobs
from ..files.data_folder import DataFolder
from ..files.free_space import check_free_space
from ..persistence import Persistence
from ..prober import Prober
from ..read_only_scheduler import ReadOnlyScheduler
from ..scheduler import Scheduler
from ..store.rocksdb import open_store
from ..store.task_store import TaskStore
from ..sweeper import Sweeper
from ..webhook_sender import WebhookSender
from .switchboard import Generation
from .workers import Workers

CLOSE_PATIENCE_S = 12.0  # two pools, 5 s each, plus closing


def mint_now() -> str:
    """A new id: ids sort by time, if not in order within a microsecond."""
    return mint(time.time_ns() // 1000, random.getrandbits(62))


class EndWatcher(Protocol):
    """Tells the scheduler of calls that other servers have ended."""

    def close(self) -> None: ...


class Runtime(Struct, frozen=True):
    """What differs between an embedding program and the server; the composing code supplies it.

    `pools` makes the thread for fsyncs and the one for scans; `on_fatal` is called with the reason
    why the queue gave up; `url` is the queue's address, for `owner.json`. `yield_control` yields
    during long work; never call it in the threads of `pools`. `hub_gap_ms` returns the longest time
    without a yield. `open_store` takes the folder, `url`, and whether to open it read-only;
    `check_free_space` takes the folder and a number of bytes, and raises `Unavailable` if the disk
    has less. `open_blobs` takes the folder; the bytes of files are written and read in the thread
    that `file_pool` makes, by default in that of the caller. `staff` are the other servers that
    make calls, by id, and how many at once each; `watch_ends` has the scheduler told of their ends,
    `make_relays` the event bus of their pieces.
    """

    pools: Callable[[], tuple[Pool, Pool]]
    make_executor: Callable[[Backend, float, YieldControl], Executor]
    on_fatal: Callable[[str], None]
    url: str | None = None
    yield_control: YieldControl = never_yield
    hub_gap_ms: Callable[[], float | None] = lambda: None
    open_store: Callable[[DataFolder, str | None, bool], TaskStore] = open_store
    check_free_space: Callable[[str, int], None] = check_free_space
    open_blobs: Callable[[str], Blobs] = BlobFolder
    file_pool: Callable[[], Pool] = InlinePool
    watch_ends: Callable[[Ref, Callable[[str], None]], EndWatcher] | None = None
    make_relays: Callable[[Ref], OpenRelay] | None = None
    staff: Mapping[str, int] = {}


class Boot:
    """One generation of actors, with their workers and prober; the scheduler's `ActorSpawner`."""

    def __init__(
        self,
        config: Config,
        runtime: Runtime,
        place: DataFolder,
        report: Callable[[str, str], None],
    ) -> None:
        self.config, self.runtime, self.place = config, runtime, place
        self._report = report
        self.bus: Ref | None = None
        self.persistence: Ref | None = None
        self.scheduler: Ref | None = None
        self.ticker: Ref | None = None
        self.sweeper: Ref | None = None
        self.batches: Ref | None = None
        self.sender: Ref | None = None
        self.prober: Ref | None = None
        self.workers = Workers(config, runtime.make_executor, runtime.yield_control)
        self.ends: EndWatcher | None = None

    def up(self) -> Generation:
        """Start bottom up. Raises the `QueueError` of an actor that could not start."""
        config = self.config
        bus, persistence, recovered = self._open()
        plan = self._plan(config.workers)
        self.scheduler = start(
            Scheduler,
            self.reporter("Scheduler"),
            yield_control=self.runtime.yield_control,
            plan=plan,
            recovered=recovered,
            persistence=persistence,
            spawner=self,
            staff=self.runtime.staff,
        )
        if self.runtime.watch_ends is not None:
            self.ends = self.runtime.watch_ends(self.scheduler, self.reporter("EndReader"))
        self.ticker = start(
            CronTicker,
            self.reporter("CronTicker"),
            yield_control=self.runtime.yield_control,
            crons=recovered.crons,
            scheduler=self.scheduler,
            persistence=persistence,
        )
        self.sweeper = start(
            Sweeper,
            self.reporter("Sweeper"),
            yield_control=self.runtime.yield_control,
            settings=config.queue,
            scheduler=self.scheduler,
            persistence=persistence,
            known=recovered.last_at,
        )
        self.batches = start(
            BatchRunner,
            self.reporter("BatchRunner"),
            yield_control=self.runtime.yield_control,
            jobs=recovered.jobs,
            scheduler=self.scheduler,
            persistence=persistence,
            make_tools=partial(self.step_tools, self.scheduler, persistence),
            clock=time.time,
        )
        self.sender = start(
            WebhookSender,
            self.reporter("WebhookSender"),
            yield_control=self.runtime.yield_control,
            persistence=persistence,
            secrets={
                None: config.callbacks.secret,
                **{webhook.name: webhook.secret for webhook in config.webhooks},
            },
            send=create_webhook_caller(networks(config.callbacks.allowed_networks)),
        )
        assert self.prober is not None, "the scheduler has spawned one"
        return Generation(
            self.scheduler, persistence, bus, self.ticker, self.prober, self.batches, self.sender
        )

    def up_read_only(self, refusal: str) -> Generation:
        """Start the actors that read a store that cannot be written; refuse writes with `refusal`.

        Raises the `QueueError` of an actor that could not start.
        """
        bus, persistence, recovered = self._open(refusal)
        self.scheduler = start(
            ReadOnlyScheduler,
            self.reporter("ReadOnlyScheduler"),
            yield_control=self.runtime.yield_control,
            plan=self._plan(0),
            recovered=recovered,
            refusal=refusal,
        )
        reader = self.scheduler
        return Generation(reader, persistence, bus, reader, reader, reader, reader)

    def _open(self, refusal: str = "") -> tuple[Ref, Ref, Recovered]:
        """Start what stores; with a `refusal` it only reads."""
        queue = self.config.queue
        self.bus = start(
            EventBus,
            self.reporter("EventBus"),
            yield_control=self.runtime.yield_control,
            make_relays=self.runtime.make_relays,
        )
        self.persistence = start(
            Persistence,
            self.reporter("Persistence"),
            yield_control=self.runtime.yield_control,
            open_store=lambda: self.runtime.open_store(self.place, self.runtime.url, bool(refusal)),
            pools=self.runtime.pools,
            bus=self.bus,
            rules=DeliveryRules(self.config.webhooks),
            durable=queue.durability == "strict",
            audit_retention_s=queue.audit_retention,
            refusal=refusal,
            timeout=600.0,  # an older format is upgraded first, which takes long for a large store
        )
        tell(self.bus, SaveHistory(self.persistence))
        recovered = ask(self.persistence, Recover(), timeout=None)
        return self.bus, self.persistence, recovered

    def _plan(self, slots: int) -> Plan:
        config = self.config
        return Plan(
            slots=slots,
            gates=gates_of(
                config.all_backends,
                config.remote_scheduling,
                config.kept_models,
                config.models,
            ),
            retry=config.retry_config,
            scheduler=config.scheduler,
            max_tasks=config.queue.max_queue_size,
            max_bytes=config.queue.max_queue_bytes,
            grants=config.auth.grants,
            hands_over=config.queue.storage is not None,
        )

    def reporter(self, name: str) -> Callable[[str], None]:
        return lambda error: self._report(name, error)

    def step_tools(self, scheduler: Ref, persistence: Ref) -> StepTools:
        """What the batches from files work with, in a thread of their own."""
        folder = self.config.queue.storage_path
        return StepTools(
            blobs=self.runtime.open_blobs(folder),
            pool=self.runtime.file_pool(),
            scheduler=scheduler,
            persistence=persistence,
            mint=mint_now,
            check_free_space=partial(self.runtime.check_free_space, folder),
            file_retention_s=self.config.queue.file_retention,
            yield_control=self.runtime.yield_control,
        )

    def spawn_worker(self, slot: int, scheduler: Ref, report: Callable[[str], None]) -> Ref:
        return self.workers.spawn(slot, scheduler, self.bus, report)

    def spawn_prober(self, scheduler: Ref) -> Ref:
        self.prober = Prober.start(
            self.reporter("Prober"),
            yield_control=self.runtime.yield_control,
            executors={name: self.workers.make_executor(name) for name in self.workers.backends},
            interval_s=self.config.remote_scheduling.health_check_interval,
            max_rest_s=self.config.scheduler.max_rest,
            scheduler=scheduler,
        )
        return self.prober

    def dismiss(self, worker: Ref) -> None:
        self.workers.dismiss(worker)

    def drain(self, grace_s: float) -> None:
        """Let running tasks finish, and make everything durable. Raises `QueueError`."""
        for ref in (self.ticker, self.sweeper, self.batches, self.sender):
            if ref is not None:
                stop(ref, CLOSE_PATIENCE_S)
        if self.scheduler is not None:
            ask(self.scheduler, Drain(grace_s), timeout=grace_s + CLOSE_PATIENCE_S)
        if self.persistence is not None:
            ask(self.persistence, Commit((), utc(time.time()), True), timeout=CLOSE_PATIENCE_S)

    def down(self, reason: str) -> bool:
        """Stop all actors, deciders first, persistence last; False if the store did not close."""
        if self.ends is not None:
            self.ends.close()
        for ref in (self.ticker, self.sweeper, self.batches, self.sender, self.scheduler):
            if ref is not None:
                stop(ref, 1.0)
        if self.prober is not None:
            stop(self.prober, 1.0)
        self.workers.stop()  # no more are spawned
        if self.bus is not None:
            tell(self.bus, CloseSubscriptions(reason))
            stop(self.bus, 1.0)
        return self.persistence is None or stop(self.persistence, CLOSE_PATIENCE_S)
