"""Headers that the clients of OpenAI's and Anthropic's APIs read: whether to retry a failed
request, and by which id to report one."""

import secrets

from ...actors.core.anthropic.replies import request_id
from ...actors.core.model.errors import OutcomeUnknown, QueueError, QueueFull, Unavailable
from .. import wire
from ..requests.exchange import current
from .queued_call import TASK_ID

RETRY = "x-should-retry"


def advise(error: QueueError) -> None:
    """Set the header that both clients obey.

    A client's automatic retry would submit another task. So if one was accepted, or may have been,
    it must not retry, unless an idempotency key identifies the request.
    """
    exchange = current()
    is_safe = "idempotency-key" in exchange.headers or not (
        TASK_ID in exchange.response_headers or isinstance(error, OutcomeUnknown)
    )
    again = isinstance(error, QueueFull | Unavailable) and is_safe
    exchange.set_header(RETRY, "true" if again else "false")


def name_request() -> str:
    """Name the request in a header, by its task if it has become one. Returns the name."""
    exchange = current()
    task_id = exchange.response_headers.get(TASK_ID)
    name = f"req_{secrets.token_hex(12)}" if task_id is None else request_id(task_id)
    is_anthropics = wire.is_anthropics(exchange.path, exchange.headers)
    exchange.set_header("request-id" if is_anthropics else "x-request-id", name)
    return name
