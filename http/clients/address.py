"""The address of the queue server, for clients and the command line."""

import os

from ...actors.core.config.urls import is_http_url
from ...actors.core.model.errors import Invalid
from ...actors.settings.notation import unquoted

DEFAULT_SERVER = "http://127.0.0.1:7125"
LONGEST = 2000  # characters of a URL
VARIABLE = "OLLAMA_QUEUE_SERVER"
KEY_VARIABLE = "OLLAMA_QUEUE_API_KEY"
LONGEST_KEY = 512


def usual() -> str:
    """The default server: `OLLAMA_QUEUE_SERVER`, or this machine at port 7125."""
    return unquoted(os.environ.get(VARIABLE, "")) or DEFAULT_SERVER


def usual_key(api_key: str | None = None) -> str | None:
    """The API key to send: this one, else `OLLAMA_QUEUE_API_KEY`, if set. Raises `Invalid`."""
    key = unquoted(os.environ.get(KEY_VARIABLE, "")) if api_key is None else api_key
    is_key = isinstance(key, str) and key.isascii() and key.isprintable() and " " not in key
    if not is_key or len(key) > LONGEST_KEY:
        # Its value is a secret: it is not shown.
        raise Invalid(
            f"api_key must be at most {LONGEST_KEY} characters of ASCII without spaces",
            field="api_key",
        )
    return key or None


def full(url: str) -> str:
    """Turn a host, `host:port`, an IPv6 address or a URL into a URL without a trailing slash.

    The default port is 7125. Raises `Invalid`.
    """
    from ...actors.core.intake import arguments  # slow to import, and not needed to show help

    text = arguments.text(url, "url", LONGEST).strip()
    if "://" not in text:
        text = text.rstrip("/")
        if text.count(":") > 1 and "[" not in text:
            text = f"[{text}]"
        has_port = ":" in text.rpartition("]")[2]
        text = f"http://{text}" if has_port else f"http://{text}:7125"
    if not is_http_url(text):
        raise Invalid(f"{url!r} is not an http(s) URL", field="url")
    return text.rstrip("/")
