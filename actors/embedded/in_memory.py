"""`InMemoryQueue`: the embedded queue without disk and model server, for the tests of programs."""

from msgspec.structs import replace

from ..base.thread_pool import InlinePool, Pool
from ..core.config.config import Backend, Config, ServerSettings
from ..core.intake import arguments
from ..executors.function import AnswerFunction, FunctionExecutor
from ..store.memory import MemoryStore, empty_families
from ..supervision.generation import Runtime
from .manager import QueueManager, give_up
from .options import RetryOptions, config_of

QUICK: RetryOptions = {"initial_delay": 0.01, "max_delay": 0.1}


class InMemoryQueue(QueueManager):
    """A queue for the tests of your programs: all verbs, no disk, no model server.

    `function` stands in for the models: it is called once for each attempt with a `ModelCall`, in a
    thread of its own, up to `max_workers` at a time, and returns

    - a text: the reply of a chat or generate task;
    - an iterable of texts, such as a generator: the reply in pieces, for streams;
    - for an embed task a vector, or one for each text: lists of numbers;
    - a mapping: the whole reply, as Ollama sends it (`{"message": {"tool_calls": …}, …}`).

    An exception is a failed attempt, which is tried again as often as the task's `max_retries`
    says; `Invalid` fails the task at once. A call that is cancelled, or reaches the task's
    `timeout_s`, is left alone: what it returns later is dropped.

    It is a `QueueManager` with the same scheduler, so priorities, retries, batches, crons, streams
    and events are as they are there. Open it as a context manager, or call `start` and `close`;
    then all of its tasks are gone. `close` does not wait for running calls.
    """

    def __init__(
        self,
        function: AnswerFunction,
        *,
        max_workers: int = 4,
        max_queue_size: int | None = None,
        retry_config: RetryOptions | None = None,
    ) -> None:
        """The options are those of `QueueManager`; retries come after 10 to 100 ms unless
        `retry_config` says otherwise. Raises `Invalid`, naming the argument."""
        arguments.callback(function, "function")
        families = empty_families()
        runtime = Runtime(
            pools=_inline_pools,
            make_executor=lambda backend, silence_s, yield_control: FunctionExecutor(function),
            on_fatal=give_up,
            open_store=lambda folder, url, read_only: MemoryStore(families),
            check_free_space=lambda folder, size: None,
        )
        super().__init__(_config(max_workers, max_queue_size, retry_config), runtime=runtime)


def _inline_pools() -> tuple[Pool, Pool]:
    """A store in memory is not for two threads."""
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
