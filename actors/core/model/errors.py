"""What a door answers when a request cannot be done; each error names what would help."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

LONGEST = 4000  # characters of a message: it may quote what a user or a model server wrote
LONGEST_FIELD = 256
_OF_ALL = re.compile("(a|the) task ")


def cut(text: str, most: int) -> str:
    """The text, or its beginning with an ellipsis: at most `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


class QueueError(Exception):
    """Base of all errors that the queue answers with.

    `code` is stable and is what crosses the wire; the message is one sentence for a person.
    `retry_after_s` (seconds, or None) says when trying again makes sense. Where it ends the wait
    for a batch that was taken on, `batch_id` and `task_ids` are the batch's.
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
        """A fresh one of the same: raised, an error collects a traceback, and keeps its frames."""
        return type(self)(self.message, field=self.field, retry_after_s=self.retry_after_s)


class Invalid(QueueError):
    """The request itself is wrong; `field` names what."""

    code = "invalid"


class NoCapableServer(Invalid):
    """No server that has the model can be asked for this. One that can may have it by now."""


class NotFound(QueueError):
    """No such task."""

    code = "not_found"


class Conflict(QueueError):
    """The task is not in a state that allows it, or a key was used for something else."""

    code = "conflict"


class QueueFull(QueueError):
    """No room for more waiting tasks."""

    code = "queue_full"


class Unauthorized(QueueError):
    """No key, or an unknown one."""

    code = "unauthorized"


class Forbidden(QueueError):
    """The key does not allow it."""

    code = "forbidden"


class Unavailable(QueueError):
    """The queue cannot answer now: not started, stopping, rebooting, or out of reach."""

    code = "unavailable"


class OutcomeUnknown(Unavailable):
    """No answer came in time: it may have been done. Repeat with the same idempotency key."""

    code = "outcome_unknown"


class BatchTimeout(TimeoutError):
    """Not all tasks of a batch have ended in time; they go on. `wait_batch` takes its `batch_id`,
    `as_completed` its `task_ids`."""

    def __init__(self, message: str, batch_id: str, task_ids: Sequence[str]) -> None:
        super().__init__(message)
        self.batch_id, self.task_ids = batch_id, task_ids

    def __reduce__(self) -> tuple[type[Self], tuple[str, str, Sequence[str]]]:
        return type(self), (str(self), self.batch_id, self.task_ids)


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Errors inside are of what stands at `place`, such as `tasks[3]`: they are said of that."""
    try:
        yield
    except Invalid as error:
        field, message = error.field or "task", error.message
        said_of_all = _OF_ALL.match(message)
        if said_of_all:
            message = f"{place} {message[said_of_all.end() :]}"
        elif message.startswith(field):
            message = f"{place}.{message}"
        else:
            message = f"{place}: {message}"
        named = place if field == "task" else f"{place}.{field}"
        raise type(error)(message, field=named) from None


def unknown_model(model: str) -> NotFound:
    """No server has this model, in Ollama's words."""
    return NotFound(f'model "{model}" not found, try pulling it first', field="model")
