"""Tells the clients of OpenAI's and Anthropic's APIs whether to retry a failed request."""

from ...actors.core.model.errors import OutcomeUnknown, QueueError, QueueFull, Unavailable
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
