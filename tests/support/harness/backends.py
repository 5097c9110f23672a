"""Several fake model servers behind one queue."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from msgspec.structs import replace

from ollama_queue import Config, NewTask, QueueManager, Task, generate_task
from ollama_queue.actors.core.config.config import (
    Backend,
    QueueSettings,
    RemoteScheduling,
    RetrySettings,
    SchedulerSettings,
)
from ollama_queue.actors.core.model.stats import BackendState
from tests.support.fakes.model_server import FakeOllama

PATIENCE_S = 20.0
QUICK = RetrySettings(max_retries=3, initial_delay=0.01, max_delay=0.02)


class Fleet:
    """A queue in front of fakes; each argument names one, with the fields of its `Backend`.

    Use it as a context manager. All fakes have the models `m` (in memory) and `smollm2`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rules: RemoteScheduling | None = None,
        model_wait: float = 600.0,
        workers: int | None = None,
        **backends: dict[str, Any],
    ) -> None:
        self.fakes = {name: FakeOllama() for name in backends}
        named = [
            Backend(name=name, url=self._url(name, fields), **fields)
            for name, fields in backends.items()
        ]
        self.config = Config(
            backends=named,
            queue=QueueSettings(storage_path=str(folder), max_workers=workers),
            scheduler=SchedulerSettings(model_wait=model_wait),
            retry_config=QUICK,
            remote_scheduling=rules or RemoteScheduling(),
        )
        self.queue = QueueManager(self.config)

    def _url(self, name: str, fields: dict[str, Any]) -> str:
        fake = self.fakes[name]
        return fake.openai_url if fields.get("type") == "openai" else fake.url

    def __getitem__(self, name: str) -> FakeOllama:
        return self.fakes[name]

    def __enter__(self) -> Self:
        self.queue.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.queue.close(grace_s=0)
        for fake in self.fakes.values():
            fake.refuse()

    def found(self) -> Self:
        """Wait until the models of each backend are known; each has run a task by then."""
        for name in self.fakes:
            self.run(ask(backend=name))
            self[name].calls.clear()
        return self

    def lists(self, **models: list[str]) -> None:
        """Make each of these backends list exactly these models."""
        for name, listed in models.items():
            self[name].lists(*listed)

    def run(self, new: NewTask) -> Task:
        return self.ended(self.queue.submit_task(new))

    def ended(self, task_id: str) -> Task:
        return self.queue.wait(task_id, timeout=PATIENCE_S)

    def state(self, name: str) -> BackendState:
        return next(state for state in self.queue.list_backends() if state.name == name)

    def reopened(self, *, without: str | None = None) -> None:
        """Restart the queue on the same folder, with one backend less."""
        left = [backend for backend in self.config.backends if backend.name != without]
        self.config = replace(self.config, backends=left)
        self.queue.close(grace_s=0)
        self.queue = QueueManager(self.config).start()

    def until(self, is_so: Callable[[], bool]) -> None:
        """Check a condition at each event until it holds; fails after a while without an event."""
        events = self.queue.subscribe()
        while not is_so():
            events.get(timeout=PATIENCE_S)
        events.close()


def ask(prompt: str = "hi", model: str = "m", **fields: Any) -> NewTask:
    return generate_task(model, prompt, **fields)
