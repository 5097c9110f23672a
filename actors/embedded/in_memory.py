"""`InMemoryQueue`: an embedded queue without a disk or model servers, for your tests."""

from msgspec.structs import replace

from ..base.thread_pool import InlinePool, Pool
from ..core.config.config import Backend, Config, ServerSettings
from ..core.intake import arguments
from ..executors.function import AnswerFunction, FunctionExecutor
from ..files.blobs import MemoryBlobs
from ..store.memory import MemoryStore, empty_families
from ..supervision.generation import Runtime
from .manager import QueueManager, give_up
from .options import RetryOptions, config_of

QUICK: RetryOptions = {"initial_delay": 0.01, "max_delay": 0.1}


class InMemoryQueue(QueueManager):
    """A queue for testing your programs: all verbs, no disk, no model server.

    `function` replaces the models. It is called with a `ModelCall` once per attempt, in a separate
    thread, up to `max_workers` at a time, and returns one of:

    - a string: the reply of a chat or generate task;
    - an iterable of strings, such as a generator: the reply in chunks, for streams;
    - for an embed task, a list of numbers, or one such list for each text;
    - a mapping: the complete reply, as Ollama sends it (`{"message": {"tool_calls": …}, …}`).

    If it raises an exception, the attempt fails and is retried up to the task's `max_retries`
    times; `Invalid` fails the task at once. A call that is cancelled or reaches the task's
    `timeout_s` is not interrupted, but its result is discarded.

    It is a `QueueManager` with the same scheduler, so priorities, retries, batches, crons, streams
    and events work the same. Use it as a context manager, or call `start` and `close`. Its tasks
    are kept in memory as long as the object exists. `close` does not wait for running calls.
    """

    def __init__(
        self,
        function: AnswerFunction,
        *,
        max_workers: int = 4,
        max_queue_size: int | None = None,
        retry_config: RetryOptions | None = None,
    ) -> None:
        """Create a queue. The options are those of `QueueManager`.

        Retries start after 10 to 100 ms unless `retry_config` sets other delays. Raises `Invalid`,
        naming the argument.
        """
        arguments.callback(function, "function")
        families, blobs = empty_families(), MemoryBlobs()
        runtime = Runtime(
            pools=_inline_pools,
            make_executor=lambda backend, silence_s, yield_control: FunctionExecutor(function),
            on_fatal=give_up,
            open_store=lambda folder, url, read_only: MemoryStore(families, blobs),
            check_free_space=lambda folder, size: None,
            open_blobs=lambda folder: blobs,
        )
        super().__init__(_config(max_workers, max_queue_size, retry_config), runtime=runtime)


def _inline_pools() -> tuple[Pool, Pool]:
    """Pools that run inline: a store in memory is not thread-safe."""
    return InlinePool(), InlinePool()


def _config(
    max_workers: int, max_queue_size: int | None, retry_config: RetryOptions | None
) -> Config:
    config = config_of(
        {
            "max_workers": max_workers,
            "max_queue_size": max_queue_size,
            "retry_config": {
                **QUICK,
                **arguments.mapping(retry_config or {}, "retry_config", "a group of settings"),
            },
        }
    )
    backend = Backend(name="in-memory", url="http://in-memory.invalid", parallel=max_workers)
    return replace(config, backends=[backend], server=ServerSettings(shutdown_grace=0.0))
