"""The life of all actors: starts them bottom up, reboots them after a crash, stops in order."""

import time
from collections import deque
from collections.abc import Callable
from typing import assert_never

from msgspec import Struct

from ollama_queue.actors.actor import Actor, Ref, ask, dismiss, log, start, stop, tell
from ollama_queue.actors.core.config import Backend, Config
from ollama_queue.actors.core.errors import OutcomeUnknown, QueueError, Unavailable
from ollama_queue.actors.core.messages import (
    Commit,
    Crashed,
    Drain,
    Farewell,
    Recover,
    Shutdown,
    ToSystem,
)
from ollama_queue.actors.core.plan import Plan
from ollama_queue.actors.core.routing import gates_of
from ollama_queue.actors.core.settling import utc
from ollama_queue.actors.cron_ticker import CronTicker
from ollama_queue.actors.event_bus import EventBus
from ollama_queue.actors.executors import Executor
from ollama_queue.actors.persistence import Persistence
from ollama_queue.actors.pool import Pool
from ollama_queue.actors.prober import Prober
from ollama_queue.actors.rocks import Store
from ollama_queue.actors.scheduler import Scheduler
from ollama_queue.actors.sweeper import Sweeper
from ollama_queue.actors.switchboard import Generation, Switchboard
from ollama_queue.actors.worker import Worker

MAX_REBOOTS = 3
REBOOT_WINDOW_S = 60.0
CLOSE_PATIENCE_S = 12.0  # two pools, 5 s each, and the closing itself


class Runtime(Struct, frozen=True):
    """What differs between an ordinary program and the server: handed in by whoever composes.

    `pools` makes the thread for fsyncs and the one for scans; `on_fatal` is told why the queue
    has given up; `url` is where the queue can be reached, for `owner.json`.
    """

    pools: Callable[[], tuple[Pool, Pool]]
    make_executor: Callable[[Backend, float], Executor]
    on_fatal: Callable[[str], None]
    url: str | None = None


class Boot:
    """One generation of actors, and all that must stop with it: the scheduler's `Crew`."""

    def __init__(
        self, config: Config, runtime: Runtime, report: Callable[[str, str], None]
    ) -> None:
        self.config, self.runtime = config, runtime
        self.backends = {backend.name: backend for backend in config.all_backends}
        self._report = report
        self.bus: Ref | None = None
        self.persistence: Ref | None = None
        self.scheduler: Ref | None = None
        self.ticker: Ref | None = None
        self.sweeper: Ref | None = None
        self.prober: Ref | None = None
        self.workers: list[Ref] = []

    def up(self) -> Generation:
        """Start bottom up. Raises the `QueueError` of whichever actor could not."""
        config, queue = self.config, self.config.queue
        self.bus = start(EventBus, self.reporter("EventBus"))
        self.persistence = start(
            Persistence,
            self.reporter("Persistence"),
            open_store=lambda: Store(queue.storage_path, self.runtime.url),
            pools=self.runtime.pools,
            bus=self.bus,
            durable=queue.durability == "strict",
            timeout=600.0,  # a large store of an older format is upgraded first
        )
        recovered = ask(self.persistence, Recover(), timeout=None)
        plan = Plan(
            slots=config.workers,
            gates=gates_of(config.all_backends, config.remote_scheduling),
            retry=config.retry_config,
            scheduler=config.scheduler,
            max_tasks=queue.max_queue_size,
            max_bytes=queue.max_queue_bytes,
        )
        self.scheduler = start(
            Scheduler,
            self.reporter("Scheduler"),
            plan=plan,
            recovered=recovered,
            persistence=self.persistence,
            crew=self,
        )
        self.ticker = start(
            CronTicker,
            self.reporter("CronTicker"),
            crons=recovered.crons,
            scheduler=self.scheduler,
            persistence=self.persistence,
            ollama_alone=config.ollama_alone,
        )
        self.sweeper = start(
            Sweeper,
            self.reporter("Sweeper"),
            settings=queue,
            scheduler=self.scheduler,
            persistence=self.persistence,
        )
        return Generation(self.scheduler, self.persistence, self.bus, self.ticker)

    def reporter(self, name: str) -> Callable[[str], None]:
        return lambda error: self._report(name, error)

    def hire_worker(self, slot: int, scheduler: Ref, report: Callable[[str], None]) -> Ref:
        assert self.persistence is not None and self.bus is not None
        worker: Ref = Worker.start(
            report,
            slot=slot,
            make_executor=self.make_executor,
            scheduler=scheduler,
            persistence=self.persistence,
            bus=self.bus,
        )
        self.workers.append(worker)
        return worker

    def hire_prober(self, scheduler: Ref) -> Ref:
        self.prober = Prober.start(
            self.reporter("Prober"),
            executors={name: self.make_executor(name) for name in self.backends},
            interval_s=self.config.remote_scheduling.health_check_interval,
            scheduler=scheduler,
        )
        return self.prober

    def make_executor(self, backend: str) -> Executor:
        return self.runtime.make_executor(self.backends[backend], self.config.ollama.timeout)

    def dismiss(self, worker: Ref) -> None:
        self.workers.remove(worker)
        dismiss(worker)

    def drain(self, grace_s: float) -> None:
        """Let running tasks end, and everything be durable. Raises `QueueError`."""
        for ref in (self.ticker, self.sweeper):
            if ref is not None:
                stop(ref, CLOSE_PATIENCE_S)
        if self.scheduler is not None:
            ask(self.scheduler, Drain(grace_s), timeout=grace_s + CLOSE_PATIENCE_S)
        if self.persistence is not None:
            ask(self.persistence, Commit((), utc(time.time()), True), timeout=CLOSE_PATIENCE_S)

    def down(self, reason: str) -> bool:
        """Stop what runs, deciders first, the disk last; False when it cannot be closed."""
        for ref in (self.ticker, self.sweeper, self.scheduler):
            if ref is not None:
                stop(ref, 1.0)
        for ref in (self.prober, *self.workers):  # nobody hires any more
            if ref is not None:
                stop(ref, 1.0)
        if self.bus is not None:
            tell(self.bus, Farewell(reason))
            stop(self.bus, 1.0)
        return self.persistence is None or stop(self.persistence, CLOSE_PATIENCE_S)


class System(Actor):
    """Holds no state of the queue, only who is alive. The one actor that waits for others."""

    def __init__(self, config: Config, runtime: Runtime, switchboard: Switchboard) -> None:
        super().__init__(runtime.on_fatal)
        self.config, self.runtime, self.switchboard = config, runtime, switchboard
        self.generation = 0
        self.reboots: deque[float] = deque(maxlen=MAX_REBOOTS)

    def on_start(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.generation += 1
        generation, me = self.generation, self.actor_ref
        self.boot = Boot(
            self.config,
            self.runtime,
            lambda actor, error: tell(me, Crashed(actor, generation, error)),
        )
        try:
            self.switchboard.connect(self.boot.up())
        except QueueError:
            self.boot.down("stopped")
            raise

    def handle(self, message: ToSystem) -> None:
        match message:
            case Crashed(actor, generation, error):
                if generation == self.generation:
                    self.reboot(actor, error)
            case Shutdown(grace_s):
                self.shut_down(grace_s)
            case _:
                assert_never(message)

    def reboot(self, actor: str, error: str) -> None:
        """Begin anew from disk, at most 3 times a minute."""
        now = time.monotonic()
        log.error("%s crashed (%s): the queue restarts from disk", actor, error)
        self.switchboard.disconnect(
            OutcomeUnknown("the queue had an internal error and restarts", retry_after_s=1)
        )
        closed = self.boot.down("restarted")
        if not closed:
            self.give_up(f"{actor} crashed ({error}), and the store could not be closed")
        elif len(self.reboots) == MAX_REBOOTS and now - self.reboots[0] < REBOOT_WINDOW_S:
            self.give_up(f"crashed {MAX_REBOOTS + 1} times within a minute, last {actor}: {error}")
        else:
            self.reboots.append(now)
            try:
                self.begin()
            except QueueError as why:
                self.give_up(f"{actor} crashed ({error}), and: {why.message}")

    def give_up(self, reason: str) -> None:
        self.generation += 1  # nothing that still crashes matters any more
        log.critical("the queue gives up: %s", reason)
        self.switchboard.disconnect(Unavailable(f"the queue has given up: {reason}"))
        self.runtime.on_fatal(reason)

    def shut_down(self, grace_s: float) -> None:
        try:
            self.boot.drain(grace_s)
        except QueueError as error:  # what it could not finish, the next boot will
            log.warning("the queue stops without finishing: %s", error.message)
        self.generation += 1
        self.switchboard.disconnect(Unavailable("the queue is stopped"))
        if not self.boot.down("shutdown"):
            self.give_up("the store could not be closed: its disk does not answer")
