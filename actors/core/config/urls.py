"""Checks URLs of model servers, and hides secrets in URLs."""

import re
from ipaddress import ip_network
from urllib.parse import urlsplit

_SITE = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@*]*")


def is_http_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    known = parts.scheme in ("http", "https") and bool(parts.hostname)
    return known and port != 0 and not any(ch.isspace() or ord(ch) < 32 for ch in text)


def is_database_url(text: str) -> bool:
    """Whether it is the URL of a PostgreSQL that has one meaning: libpq and this program must agree
    on what in it is the password, which is never shown. It may name several hosts."""
    try:
        parts = urlsplit(text)
        for host in parts.netloc.rpartition("@")[2].split(","):
            _ = urlsplit(f"//{host}").port
    except ValueError:
        return False
    is_known = parts.scheme in ("postgresql", "postgres") and text.startswith(f"{parts.scheme}://")
    is_plain = text.isprintable() and " " not in text and not parts.fragment and "#" not in text
    return is_known and is_plain and parts.netloc.count("@") <= 1 and "@" not in parts.path


def without_path(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def is_origin(text: str) -> bool:
    """Whether it is an origin as browsers send it: scheme, host in lower case, and port."""
    if not text.startswith(("http://", "https://")):
        return _SITE.fullmatch(text) is not None  # of a browser extension, or a program's page
    return is_http_url(text) and text == text.lower() and text.count("/") == 2 and "@" not in text


def is_network(text: str) -> bool:
    """Whether it is an IP address, or a network of such."""
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def is_here(url: str) -> bool:
    """Whether it refers to this machine by a loopback name."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def shown(url: str, instead: str = "") -> str:
    """A URL with `instead` in place of what may be secret: user name, password, and the values
    of its query. Without `instead`, these are left out, with the complete query."""
    parts = urlsplit(url)
    _, at, place = parts.netloc.rpartition("@")
    if not instead:
        return parts._replace(netloc=place, query="").geturl()
    query = "&".join(_hidden(part, instead) for part in parts.query.split("&"))
    return parts._replace(netloc=f"{instead if at else ''}{at}{place}", query=query).geturl()


def _hidden(part: str, instead: str) -> str:
    """Hide the value in a part of a query; a part without `=` is all value."""
    name, equals, value = part.partition("=")
    if not equals:
        name, value = "", name
    return f"{name}{equals}{instead}" if value else part
