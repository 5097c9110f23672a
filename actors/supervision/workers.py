"""The workers of one generation of actors, and the executors with which it calls model servers."""

from collections.abc import Callable

from ..base.actor import Ref, dismiss, stop
from ..base.cooperation import YieldControl
from ..core.config.config import Backend, Config
from ..executors import Executor
from ..worker import Worker


class Workers:
    """Starts workers, and stops those that are left."""

    def __init__(
        self,
        config: Config,
        make_executor: Callable[[Backend, float, YieldControl], Executor],
        yield_control: YieldControl,
    ) -> None:
        self.backends = {backend.name: backend for backend in config.all_backends}
        self._silence_s = config.ollama.timeout
        self._make_executor, self._yield_control = make_executor, yield_control
        self._workers: list[Ref] = []

    def spawn(
        self, slot: int, scheduler: Ref, bus: Ref | None, report: Callable[[str], None]
    ) -> Ref:
        """Start the worker of a slot, which tells `scheduler` how its calls end."""
        worker: Ref = Worker.start(
            report,
            yield_control=self._yield_control,
            slot=slot,
            make_executor=self.make_executor,
            scheduler=scheduler,
            bus=bus,
        )
        self._workers.append(worker)
        return worker

    def make_executor(self, backend: str) -> Executor:
        """Make what calls the backend of this name."""
        return self._make_executor(self.backends[backend], self._silence_s, self._yield_control)

    def dismiss(self, worker: Ref) -> None:
        """Stop one that was replaced, without waiting."""
        self._workers.remove(worker)
        dismiss(worker)

    def stop(self) -> None:
        for worker in self._workers:
            stop(worker, 1.0)
        self._workers = []
