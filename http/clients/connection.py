"""What both clients share: options and requests for httpx, and the errors of failed ones."""

import ssl
from base64 import b64encode
from typing import Any
from urllib.parse import unquote_to_bytes as unquote

import httpx

from ...actors.core.intake import arguments
from ...actors.core.model.errors import Invalid, OutcomeUnknown, QueueError, Unavailable
from .. import wire
from .requests import Request

MOST_URLS = 100  # kept: paths with an id come once or twice
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "gzip, deflate"}
SILENCE_S = 20.0  # a stream without even a comment for so long is dead


def limit(timeout: float) -> float:
    """Check a client's `timeout`, in seconds above 0. Raises `Invalid`."""
    seconds = arguments.seconds(timeout, "timeout")
    if not seconds:
        raise Invalid("timeout must be seconds above 0", field="timeout")
    return seconds


def options(url: str, timeout: float, transport: Any = None) -> dict[str, Any]:
    """The arguments for an httpx client; `timeout` in seconds. Raises `Invalid`."""
    return {
        "base_url": url,
        "timeout": httpx.Timeout(timeout, pool=None),
        "trust_env": False,
        "verify": verification(url) if transport is None else False,
        "transport": transport,
    }


def verification(url: str) -> ssl.SSLContext | bool:
    """How a server's certificate is checked. Raises `Invalid`."""
    try:
        httpx.URL(url)
    except httpx.InvalidURL as error:
        raise Invalid(f"{url!r} is not an http(s) URL: {error}", field="url") from None
    # Creating a TLS context takes 40 ms, and a plain URL needs none. It reads SSL_CERT_FILE.
    return httpx.create_ssl_context() if url.startswith("https:") else False


class Composer:
    """Composes httpx's requests to the server at `url`, for a transport.

    An httpx client would merge addresses, headers, cookies and authentication for each, which takes
    as long as to send it. `timeout` (seconds) and `api_key` are the client's, `agent` is its name.
    """

    def __init__(
        self, url: str, timeout: float, api_key: str | None = None, agent: str = wire.CLIENT
    ) -> None:
        self._base, self._timeout = url, timeout
        headers: dict[str, Any] = {**_HEADERS, "User-Agent": agent, **key_headers(url, api_key)}
        self._headers = [*headers.items()]
        user = httpx.URL(url).userinfo
        if user:
            self._headers.append(("Authorization", f"Basic {b64encode(unquote(user)).decode()}"))
        self._urls: dict[str, httpx.URL] = {}  # by path

    def whole(self, request: Request[Any]) -> httpx.Request:
        """A request whose response is read at once."""
        timeout = httpx.Timeout(self._timeout + request.patience_s, pool=None)
        return self._composed(request, timeout)

    def streamed(self, request: Request[Any]) -> httpx.Request:
        """A request whose response is streamed."""
        return self._composed(request, httpx.Timeout(self._timeout, read=SILENCE_S, pool=None))

    def _composed(self, request: Request[Any], timeout: httpx.Timeout) -> httpx.Request:
        url = self._urls.get(request.path)
        if url is None:
            url = httpx.URL(self._base + request.path)
            if len(self._urls) < MOST_URLS:
                self._urls[request.path] = url
        if request.params:
            url = url.copy_merge_params(request.params)
        return httpx.Request(
            request.method,
            url,
            headers=[*self._headers, *request.headers.items()],
            content=request.content,
            extensions={"timeout": timeout.as_dict()},
        )


def key_headers(url: str, api_key: str | None) -> dict[str, str]:
    """The header that sends an API key. A URL with a password has `Authorization` for that."""
    if api_key is None:
        return {}
    if httpx.URL(url).userinfo:
        return {"X-Api-Key": api_key}
    return {"Authorization": f"Bearer {api_key}"}


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
