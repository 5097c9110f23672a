"""Keeps other sites' pages out: a browser sends their requests here too.

A page of another site may post to a server on this machine (cross-site request forgery), and a
name that its owner lets point here makes it the same site (DNS rebinding). Hence the checks of
Origin and, when only this machine is served, of Host.
"""

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from ollama_queue.actors.core.errors import Forbidden

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def is_loopback(host: str) -> bool:
    """Whether a host, by name or address, is this machine and nothing else."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check(
    environ: Mapping[str, str], *, loopback_only: bool, origins: Collection[str] = ()
) -> None:
    """Raises `Forbidden` for a foreign Origin on an unsafe method, or a foreign Host.

    Pages of `origins` are let in as our own are. A WebSocket begins with a GET, and a page of any
    site may open one: it is not safe.
    """
    host = environ.get("HTTP_HOST", "")
    if loopback_only and host and not is_loopback(urlsplit(f"//{host}").hostname or ""):
        raise Forbidden(f"this server answers to localhost only, not to {host}", field="Host")
    origin = environ.get("HTTP_ORIGIN")
    is_safe = environ["REQUEST_METHOD"] in _SAFE and "HTTP_UPGRADE" not in environ
    if origin is None or is_safe or origin in origins:
        return
    if urlsplit(origin).netloc != host:
        raise Forbidden(f"requests from pages of {origin} are refused", field="Origin")
