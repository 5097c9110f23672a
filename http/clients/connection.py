"""What both clients share: httpx options, requests, and the errors of failed ones."""

from typing import Any

import httpx

from ...actors.core.intake import arguments
from ...actors.core.model.errors import Invalid, OutcomeUnknown, QueueError, Unavailable
from .. import wire
from .requests import Request

SILENCE_S = 20.0  # a stream without even a comment for so long is dead


def limit(timeout: float) -> float:
    """Check a client's `timeout`, in seconds above 0. Raises `Invalid`."""
    seconds = arguments.seconds(timeout, "timeout")
    if not seconds:
        raise Invalid("timeout must be seconds above 0", field="timeout")
    return seconds


def options(url: str, timeout: float, transport: Any = None) -> dict[str, Any]:
    """The arguments for an httpx client; `timeout` in seconds. Raises `Invalid`."""
    try:
        httpx.URL(url)
    except httpx.InvalidURL as error:
        raise Invalid(f"{url!r} is not an http(s) URL: {error}", field="url") from None
    # Creating a TLS context takes 40 ms, and a plain URL needs none. It reads SSL_CERT_FILE.
    is_secure = transport is None and url.startswith("https:")
    return {
        "base_url": url,
        "timeout": httpx.Timeout(timeout, pool=None),
        "trust_env": False,
        "verify": httpx.create_ssl_context() if is_secure else False,
        "transport": transport,
    }


def sent(request: Request[Any], timeout: float) -> dict[str, Any]:
    """The arguments for httpx to send `request`; `timeout` (seconds) as in the client."""
    return {
        "method": request.method,
        "url": request.path,
        "content": request.content,
        "headers": request.headers,
        "params": request.params,
        "timeout": httpx.Timeout(timeout + request.patience_s, pool=None),
    }


def opened(request: Request[Any], timeout: float) -> dict[str, Any]:
    """The arguments for httpx to send a `request` whose response is streamed."""
    return {**sent(request, timeout), "timeout": httpx.Timeout(timeout, read=SILENCE_S, pool=None)}


def refusal(response: httpx.Response) -> QueueError:
    """The error in a response whose body has been read."""
    retry_after = response.headers.get("Retry-After")
    return wire.decode_error(response.status_code, response.content, retry_after)


def lost(url: str, error: httpx.TransportError) -> Unavailable:
    """The error for a request without a response: `OutcomeUnknown` if it may have arrived."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Unavailable(
            f"cannot reach a queue server at {url} ({error}): is ollama-queue-server running?"
        )
    return OutcomeUnknown(f"the connection to {url} was lost: {error or type(error).__name__}")
