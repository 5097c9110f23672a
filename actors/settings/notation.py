"""Notations for durations, sizes and hosts; each parser raises `Invalid` with the right form."""

import ipaddress
import math
import re
from datetime import timedelta
from decimal import Decimal

from ..core.model.errors import Invalid

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PORTS = {"http": 80, "https": 443}


def parse_duration(value: object) -> float:
    """Seconds from `"500ms"`, `"1h30m"`, `"7d"`, a number of seconds, or a `timedelta`."""
    seconds = -1.0
    if isinstance(value, str):
        text = "".join(value.split())
        if re.fullmatch(_NUMBER, text):
            seconds = float(text)
        elif re.fullmatch(f"({_NUMBER}(ms|s|m|h|d))+", text):
            parts = re.findall(f"({_NUMBER})(ms|s|m|h|d)", text)
            seconds = sum(float(amount) * _SECONDS[unit] for amount, unit in parts)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, timedelta):
        seconds = value.total_seconds()
    if not (math.isfinite(seconds) and seconds >= 0):
        raise Invalid(f"{shown(value)} is not a duration: write 500ms, 30s, 1h30m, 7d or seconds")
    return seconds


def write_duration(seconds: float) -> str:
    """Write seconds for `parse_duration`, in the largest unit that divides them."""
    for unit in ("d", "h", "m", "s"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    return format(Decimal(repr(seconds)), "f")


def parse_size(value: object) -> int:
    """Bytes from `"32MiB"`, `"64KB"` (1000 bytes each), or a whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        match = re.fullmatch(rf"({_NUMBER})\s*(?:b|([kmgt])(i?)b)?", value.strip().lower())
        if match:
            base = 1024 if match[3] else 1000
            return int(Decimal(match[1]) * base ** " kmgt".index(match[2] or " "))
    raise Invalid(f"{shown(value)} is not a size: write 64KB, 32MiB, 4GiB or a number of bytes")


def write_size(size: int) -> str:
    """Write bytes for `parse_size`, in the largest unit that divides them."""
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size and size % 1024**power == 0:
            return f"{size // 1024**power}{unit}"
    return str(size)


def parse_ollama_host(text: object) -> str:
    """The URL that `OLLAMA_HOST` means, in every form that Ollama's client accepts.

    `gpu`, `gpu:80`, `:80`, `[::1]:80` and URLs. The default port is 11434, or for a URL its
    scheme's own. An address that means "all" becomes the loopback address; `ollama.com` is
    reached by https.
    """
    stripped = text.strip().strip("\"'").strip() if isinstance(text, str) else "?"
    if stripped == "ollama.com":
        stripped = "https://ollama.com"
    scheme, is_url, rest = stripped.rpartition("://")
    scheme = scheme.lower() if is_url else "http"
    authority, slash, path = rest.partition("/")
    user, at, place = authority.rpartition("@")
    host, port = _split_port(place)
    number = _port(port, _PORTS.get(scheme, 0) if is_url else 11434)
    host = _connectable(host)
    if scheme not in _PORTS or not host or not number:
        what = "this" if at else shown(text)  # not the password
        raise Invalid(f"{what} is not a host: write HOST, HOST:PORT or http://HOST:PORT")
    return f"{scheme}://{user}{at}{host}:{number}{slash}{path}".rstrip("/")


def shown(value: object) -> str:
    """A value as error messages show it, cut to at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def unquoted(text: str) -> str:
    """A variable's value without the blanks and quotes that an `.env` file may leave around it."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1].strip()
    return text


def _split_port(place: str) -> tuple[str, str]:
    bracketed = re.fullmatch(r"\[([^\]]+)\](?::(.*))?", place)
    if bracketed:
        return bracketed[1], bracketed[2] or ""
    if place.count(":") > 1:  # a bare IPv6 address
        return place, ""
    host, _, port = place.partition(":")
    return host, port


def _port(port: str, default: int) -> int:
    """The port's number; 0 if it is invalid."""
    if port == "":
        return default
    number = int(port) if re.fullmatch("[0-9]{1,5}", port) else 0
    return number if number <= 65535 else 0


def _connectable(host: str) -> str:
    """The host as a URL to connect to needs it; empty if it is invalid."""
    try:
        address = ipaddress.ip_address(host or "127.0.0.1")
    except ValueError:
        return host if re.fullmatch(r"[\w.-]+", host) else ""
    if address.version == 4:
        return "127.0.0.1" if address.is_unspecified else str(address)
    return "[::1]" if address.is_unspecified else f"[{address}]"
