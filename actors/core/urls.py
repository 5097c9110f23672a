"""What a URL of a model server must be, where it leads, and how it may be shown."""

from urllib.parse import urlsplit


def is_http_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    known = parts.scheme in ("http", "https") and bool(parts.hostname)
    return known and port != 0 and not any(ch.isspace() or ord(ch) < 32 for ch in text)


def is_origin(text: str) -> bool:
    """Whether it is what a browser calls a site: scheme, host in small letters, and port."""
    return is_http_url(text) and text == text.lower() and text.count("/") == 2 and "@" not in text


def is_here(url: str) -> bool:
    """Whether it names this machine by a loopback name."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def shown(url: str, instead: str = "") -> str:
    """A URL with `instead` in place of the name and password that it may hold."""
    parts = urlsplit(url)
    _, at, place = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{instead}{at}{place}" if at and instead else place).geturl()
