"""Where a task may run: its route key, and whether a backend can take it now."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.json import Encoder

from ollama_queue.actors.core.figures import BackendState

# Options that belong to Ollama's runner: another value makes it load the model anew
# (Ollama, `needsReload` in server/sched.go).
RUNNER_OPTIONS = frozenset(
    {"num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict"}
)
_ENCODER = Encoder(order="deterministic")


def model_name(name: str) -> str:
    """A model's name as it is compared: `x` and `x:latest` are one model."""
    return name.strip().removesuffix(":latest")


def route_key(model: str, options: Mapping[str, Any]) -> str:
    """What decides where a task may run: its model and the runner's options."""
    name = model_name(model)
    runner = {key: options[key] for key in options.keys() & RUNNER_OPTIONS}
    return f"{name} {_ENCODER.encode(runner).decode()}" if runner else name


class Gate(Struct):
    """One model server as the plan sees it: never more than `parallel` calls at once."""

    name: str
    type: str
    parallel: int
    running: int = 0
    healthy: bool = True
    refusals: int = 0  # in a row, since a call was last taken on
    error: str | None = None

    @property
    def is_open(self) -> bool:
        return self.healthy and self.running < self.parallel

    def refuse(self, error: str) -> bool:
        """It did not take a call on: out until a probe finds it well. True if it was in."""
        self.error = error
        if not self.healthy:
            return False
        self.healthy = False
        self.refusals += 1
        return True

    @property
    def state(self) -> BackendState:
        return BackendState(
            name=self.name,
            type=self.type,
            healthy=self.healthy,
            running=self.running,
            parallel=self.parallel,
            error=self.error,
        )
