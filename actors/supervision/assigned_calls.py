"""The actors with which a server makes calls for the leader: they outlive its own leads."""

from collections.abc import Callable

from ..base.actor import Ref, ask, start, stop
from ..core.config.config import Config
from ..core.messages.call_runner import Retire
from ..event_bus import EventBus
from ..fleet.call_runner import CallRunner
from ..store.postgres.leadership import BURIED_AFTER
from .generation import Runtime
from .workers import Workers

RETIRE_PATIENCE_S = 12.0  # for calls that were stopped to end, and for the database


class AssignedCalls:
    """A CallRunner, its workers, and the EventBus that has what they stream."""

    def __init__(self, config: Config, runtime: Runtime, server: str) -> None:
        self.config, self.runtime, self.server = config, runtime, server
        self.workers = Workers(config, runtime.make_executor, runtime.yield_control)
        self.bus: Ref | None = None
        self.runner: Ref | None = None

    def begin(self, report: Callable[[str], None]) -> None:
        """Raises `QueueError` if the actors cannot start. `report` is called with a line of text if
        one crashes."""
        storage = self.config.queue.storage
        assert storage is not None, "a fleet has one"
        self.bus = start(
            EventBus,
            lambda error: report(f"EventBus crashed: {error}"),
            yield_control=self.runtime.yield_control,
        )
        self.runner = start(
            CallRunner,
            lambda error: report(f"CallRunner crashed: {error}"),
            yield_control=self.runtime.yield_control,
            conninfo=storage,
            server=self.server,
            limit_s=self.config.fleet.ttl * BURIED_AFTER,
            bus=self.bus,
            spawn_worker=self.spawn_worker,
            dismiss=self.workers.dismiss,
        )

    def spawn_worker(self, slot: int, runner: Ref, report: Callable[[str], None]) -> Ref:
        return self.workers.spawn(slot, runner, self.bus, report)

    def retire(self, grace_s: float) -> None:
        """Let running calls end. Raises `QueueError`."""
        if self.runner is not None:
            ask(self.runner, Retire(grace_s), timeout=grace_s + RETIRE_PATIENCE_S)

    def down(self) -> None:
        if self.runner is not None:
            stop(self.runner, 1.0)
        self.workers.stop()
        if self.bus is not None:
            stop(self.bus, 1.0)
        self.runner = self.bus = None
