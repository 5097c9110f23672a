"""Response forms of verbs whose result is not sent as is."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from ...actors.core.model.crons import CronAdded
from ...actors.core.model.stats import QueueStats
from ...actors.core.model.tasks import BatchSubmitted, Status, Submitted
from ..bodies import Done
from ..requests.exchange import current
from ..routes import HttpRoute

# The function that answers each route; called with the path's parameter, if any.
Handlers = dict[HttpRoute[Any], Callable[..., Any]]


class Accepted(Struct):
    """A submitted task. `position`: how many tasks of its route are ahead of it."""

    task_id: str
    status: Status
    position: int | None


class Item(Struct):
    """The state of one task of a batch; `error` says why it failed, `model_used` which model was
    called last."""

    task_id: str
    status: Status
    result: Any
    error: str | None
    model_used: str | None


class BatchAccepted(Struct, omit_defaults=True):
    """A submitted batch; `results` are given if the request waits for them."""

    batch_id: str
    task_ids: list[str]
    results: list[Item] = []


class Added(Struct):
    id: str


class Cloud(Struct, frozen=True):
    """Tells Ollama's clients, which read this path, that its cloud is disabled."""

    disabled: bool = True
    source: str = "ollama-queue"


class StatusAnswer(QueueStats, frozen=True, kw_only=True):
    """The state of the queue, with a field for Ollama's clients."""

    cloud: Cloud = Cloud()


SHAPES: dict[Any, type] = {
    Submitted: Accepted,
    BatchSubmitted: BatchAccepted,
    CronAdded: Added,
    QueueStats: StatusAnswer,
}


def shown(answer: Any) -> Any:
    """Convert a verb's result to its response; the status is 201 if something was created."""
    if isinstance(answer, Submitted | BatchSubmitted | CronAdded):
        current().status = 201 if answer.created else 200
    match answer:
        case Submitted():
            return Accepted(answer.task_id, answer.status, answer.position)
        case BatchSubmitted():
            return BatchAccepted(answer.batch_id, answer.task_ids)
        case CronAdded():
            return Added(answer.id)
        case QueueStats():
            return StatusAnswer(**asdict(answer))
        case None:
            return Done("ok")
        case _:
            return answer
