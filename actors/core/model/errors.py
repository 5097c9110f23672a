"""The errors that answer a request that cannot be done; each says what would help."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Self

LONGEST = 4000  # characters of a message: it may quote a user or a model server
LONGEST_FIELD = 256
_OF_ALL = re.compile("(a|the) task ")


def cut(text: str, most: int) -> str:
    """The text, cut to at most `most` characters with an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


class QueueError(Exception):
    """Base of all errors that a queue's verbs raise, except for timeouts, which are Python's.

    ```
    QueueError
    ├── Invalid             an argument or a field is wrong: `field` names it
    ├── NotFound            no such task, batch, cron or backend
    ├── Conflict            the task's status does not allow it, or a key or name is taken
    ├── QueueFull           too many waiting tasks
    ├── Unauthorized        no API key, or an unknown one
    ├── Forbidden           the API key does not allow it
    ├── Unavailable         the queue is not started, restarting, stopping or unreachable
    │   └── OutcomeUnknown  no reply: the request may have been carried out
    └── Closed              a subscription has ended
    TimeoutError
    └── BatchTimeout        not all tasks of a batch ended in time
    ```

    `message` is one sentence for people; `code` is stable and sent in HTTP answers. `field` is the
    name of the wrong argument or field, or None. `retry_after_s` (seconds, or None) says when
    to try again. In an error that ends a wait for a batch, `batch_id` and `task_ids` are the
    batch's.
    """

    code = "error"
    batch_id: str | None = None
    task_ids: Sequence[str] = ()

    def __init__(
        self, message: str, *, field: str | None = None, retry_after_s: float | None = None
    ) -> None:
        message = cut(message, LONGEST)
        super().__init__(message)
        self.message = message
        self.field = field and cut(field, LONGEST_FIELD)
        self.retry_after_s = retry_after_s

    def again(self) -> Self:
        """A new error of the same type and message.

        A raised error keeps a traceback and its frames alive: each raise gets its own.
        """
        return type(self)(self.message, field=self.field, retry_after_s=self.retry_after_s)


class Invalid(QueueError):
    """The request is wrong; `field` names the wrong part."""

    code = "invalid"


class NoCapableServer(Invalid):
    """No server with the model supports this request. One that does may have the model by now."""


class NotFound(QueueError):
    """There is no such task, batch, cron or backend."""

    code = "not_found"


class Conflict(QueueError):
    """The task's status does not allow it, or an idempotency key or a cron's name is taken."""

    code = "conflict"


class QueueFull(QueueError):
    """Too many tasks wait: `queue.max_queue_size` or `queue.max_queue_bytes` is reached."""

    code = "queue_full"


class Unauthorized(QueueError):
    """The request has no API key, or an unknown one."""

    code = "unauthorized"


class Forbidden(QueueError):
    """The API key, or the page that sent the request, is not allowed to do this."""

    code = "forbidden"


class Unavailable(QueueError):
    """The queue cannot answer now: not started, stopping, rebooting, or unreachable."""

    code = "unavailable"


class OutcomeUnknown(Unavailable):
    """No answer came in time, so it may have been done. Repeat with the same idempotency key."""

    code = "outcome_unknown"


class BatchTimeout(TimeoutError):
    """Not all tasks of a batch have ended in time; they continue. Pass its `batch_id` to
    `wait_batch`, or its `task_ids` to `as_completed`."""

    def __init__(self, message: str, batch_id: str, task_ids: Sequence[str]) -> None:
        super().__init__(message)
        self.batch_id, self.task_ids = batch_id, task_ids

    def __reduce__(self) -> tuple[type[Self], tuple[str, str, Sequence[str]]]:
        return type(self), (str(self), self.batch_id, self.task_ids)


@contextmanager
def error_at(place: str) -> Iterator[None]:
    """Make errors raised inside name their place, such as `tasks[3]`."""
    try:
        yield
    except Invalid as error:
        raise placed(error, place) from None


def placed(error: Invalid, place: str) -> Invalid:
    """The error as one that names its place, for loops in which a `with` would cost too much."""
    field, message = error.field or "task", error.message
    said_of_all = _OF_ALL.match(message)
    if said_of_all:
        message = f"{place} {message[said_of_all.end() :]}"
    elif message.startswith(field):
        message = f"{place}.{message}"
    else:
        message = f"{place}: {message}"
    named = place if field == "task" else f"{place}.{field}"
    return type(error)(message, field=named)


def choose_from(names: Iterable[str]) -> str:
    """What may stand in place of a name that is refused, as the end of a sentence."""
    known = list(names)
    if len(known) > 1:
        return f"choose from {', '.join(known)}"
    return f"the only one is {known[0]}" if known else "there are none"


def unknown_backend(name: str, known: Iterable[str]) -> NotFound:
    """The error for a backend that the settings do not name."""
    shown = cut(name, 64) or "''"
    return NotFound(f"there is no backend {shown}: {choose_from(known)}", field="name")


def unknown_model(model: str) -> NotFound:
    """The error for a model that no server has, in Ollama's words."""
    return NotFound(f'model "{model}" not found, try pulling it first', field="model")
