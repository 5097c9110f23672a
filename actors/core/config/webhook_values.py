"""The values of webhooks' settings: secrets, and networks."""

import base64
import binascii
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

Network = IPv4Network | IPv6Network

_PREFIX = "whsec_"
_LEAST, _MOST = 24, 64  # bytes of a key (Standard Webhooks 1.0)


def signing_key(secret: str) -> bytes | None:
    """The key in a secret, which is `whsec_` and 24 to 64 bytes in base64; None if it is not."""
    if not secret.startswith(_PREFIX):
        return None
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if _LEAST <= len(key) <= _MOST else None


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks, each an address or a block such as 10.0.0.0/8. Raises `ValueError`."""
    return tuple(ip_network(text, strict=False) for text in texts)
