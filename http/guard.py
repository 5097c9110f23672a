"""Keeps other sites' pages out: a browser sends their requests here too.

A page of another site may post to a server on this machine (cross-site request forgery), and a
name that its owner lets point here makes it the same site (DNS rebinding). Hence the checks of
Origin and, when only this machine is served, of Host.
"""

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from ollama_queue.actors.core.errors import Forbidden, Invalid

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def is_loopback(host: str) -> bool:
    """Whether a host, by name or address, is this machine and nothing else."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().removesuffix(".") == "localhost"


def check(
    environ: Mapping[str, str], *, loopback_only: bool, origins: Collection[str] = ()
) -> None:
    """Raises `Forbidden` for a foreign Host, or for an unsafe method that comes from a foreign
    page; `Invalid` for what is no Host.

    Pages of `origins` are let in as our own are. A WebSocket begins with a GET, and a page of any
    site may open one: it is not safe.
    """
    host = environ.get("HTTP_HOST", "")
    if loopback_only and host and not is_loopback(_name(host)):
        raise Forbidden(f"this server answers to localhost only, not to {host}", field="Host")
    if environ["REQUEST_METHOD"] in _SAFE and "HTTP_UPGRADE" not in environ:
        return
    origin = environ.get("HTTP_ORIGIN")
    if origin is None:
        # An old browser, or a page that had it left out.
        if environ.get("HTTP_SEC_FETCH_SITE", "").strip().lower() == "cross-site":
            raise Forbidden("requests from pages of other sites are refused", field="Origin")
    elif origin not in origins and origin not in (f"http://{host}", f"https://{host}"):
        raise Forbidden(f"requests from pages of {origin[:256]} are refused", field="Origin")


def _name(host: str) -> str:
    """The host without its port. Raises `Invalid`."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        raise Invalid("Host must be a name or an address, and a port", field="Host") from None
