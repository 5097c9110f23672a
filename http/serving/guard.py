"""Rejects requests that a browser sends on behalf of other sites' pages.

A page of another site can post to a server on this machine (cross-site request forgery), and a
domain that resolves to this machine makes the page same-site (DNS rebinding). Hence the checks of
Origin and, when listening on loopback only, of Host.
"""

import socket
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from msgspec import Struct

from ...actors.core.model.errors import Forbidden, Invalid
from .. import wire
from ..requests.exchange import Exchange

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# Names that nobody can register on the internet; Ollama allows them too.
_LOCAL = (".localhost", ".local", ".internal")
# Origins that Ollama allows by default: this machine, desktop programs and editors.
_NEAR = (
    *(f"{scheme}://{host}" for scheme in ("http", "https") for host in ("localhost", "127.0.0.1")),
    *(f"{scheme}://localhost:*" for scheme in ("http", "https")),
    *(f"{scheme}://127.0.0.1:*" for scheme in ("http", "https")),
    *("app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*"),
)


def is_loopback(host: str) -> bool:
    """Whether a host name or address is a loopback one."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().removesuffix(".") == "localhost"


class Guard(Struct, frozen=True):
    """Which requests are allowed. With `loopback_only`, only local Hosts and `hosts` are.

    Pages of `origins` (`*`: of all sites, where each request needs a key) may use every route, as
    the server's own page may. Pages of
    `drop_in_origins` (`*` matches anything), and of the origins that Ollama allows by default, may
    use the routes of Ollama's and OpenAI's API.
    """

    loopback_only: bool = False
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    drop_in_origins: tuple[str, ...] = ()

    def check(self, exchange: Exchange) -> None:
        """Raises `Forbidden` for a foreign Host, or an unsafe method from another site's page;
        `Invalid` for a malformed Host.

        A WebSocket handshake is a GET that any page can send, so it counts as unsafe.
        """
        headers = exchange.headers
        host = headers.get("host", "")
        if self.loopback_only and host and not self._is_known(host):
            message = f"this server accepts requests to localhost only, not to {host[:256]}"
            raise Forbidden(f"{message}: see server.allowed_hosts", field="Host")
        if exchange.method in _SAFE and "upgrade" not in headers:
            return
        origin = headers.get("origin")
        if origin is None:
            # An old browser, or a page that suppressed the header.
            if headers.get("sec-fetch-site", "").strip().lower() == "cross-site":
                raise Forbidden("requests from pages of other sites are refused", field="Origin")
            return
        is_ours = origin in (f"http://{host}", f"https://{host}")
        if not (is_ours or self.is_friend(origin, exchange.path)):
            raise Forbidden(f"requests from pages of {origin[:256]} are refused", field="Origin")

    def is_friend(self, origin: str, path: str) -> bool:
        """Whether pages of this origin may use the route."""
        if origin in self.origins or "*" in self.origins:
            return True
        path = wire.tidy(path)
        is_drop_in = wire.is_ollamas(path) or wire.is_openais(path)
        return is_drop_in and any(
            _fits(origin, pattern) for pattern in (*_NEAR, *self.drop_in_origins)
        )

    def _is_known(self, host: str) -> bool:
        name, is_near = _read(host)
        return (
            is_near
            or any(_fits(name, pattern.lower()) for pattern in self.hosts)
            or name == socket.gethostname().lower()
        )


def _fits(text: str, pattern: str) -> bool:
    """Whether the text matches the pattern, whose first `*` matches anything."""
    before, star, behind = pattern.partition("*")
    if not star:
        return text == pattern
    is_long_enough = len(text) >= len(before) + len(behind)
    return is_long_enough and text.startswith(before) and text.endswith(behind)


@lru_cache(maxsize=256)
def _read(host: str) -> tuple[str, bool]:
    """The host without its port, and whether it is local whatever this machine's name is.

    Cached: a client sends the same one each time. Raises `Invalid`.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").lower().removesuffix(".")
    except ValueError:
        raise Invalid("Host must be a name or address and an optional port", field="Host") from None
    try:
        return name, ip_address(name).is_private  # an address cannot be rebound by DNS
    except ValueError:
        return name, name == "localhost" or name.endswith(_LOCAL)
