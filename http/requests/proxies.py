"""Proxies in front of the server: whom they speak for, and the prefix below which they show it."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

MOST_HOPS = 20  # addresses in X-Forwarded-For that are read, the last ones

Address = IPv4Address | IPv6Address


class Proxies:
    """`trusted` are addresses and networks, `base_path` is a prefix such as `/queue`, or empty."""

    def __init__(self, trusted: Iterable[str] = (), base_path: str = "") -> None:
        self._trusted = [ip_network(each, strict=False) for each in trusted]
        self.base_path = base_path

    def client_of(self, peer: str, headers: Mapping[str, str]) -> str:
        """The address of the client that a request comes from.

        Of `X-Forwarded-For`, to which each proxy appends its own client, only what trusted proxies
        wrote counts: from the end up to the first address that is no trusted proxy.
        """
        if not self._trusted or not self.trusts(peer):
            return peer
        client = peer
        hops = headers.get("x-forwarded-for", "").split(",")[-MOST_HOPS:]
        for hop in reversed(hops):
            address = _address(hop)
            if address is None:
                break
            client = str(address)
            if not self.trusts(client):
                break
        return client

    def trusts(self, address: str) -> bool:
        """Whether this is the address of a trusted proxy."""
        read = _address(address)
        return read is not None and any(
            read.version == network.version and read in network for network in self._trusted
        )

    def path_of(self, path: str) -> str | None:
        """The path without the prefix; None for the prefix alone, which lacks its slash.

        A path without the prefix stays as it is: a proxy may strip it.
        """
        base = self.base_path
        if not base or not path.startswith(base):
            return path
        rest = path[len(base) :]
        if not rest:
            return None
        return rest if rest.startswith("/") else path


@lru_cache(maxsize=1024)  # a connection asks for the same address several times
def group_of(address: str) -> str:
    """What counts as one address: for IPv6 the network of 64 bits that one customer has."""
    read = _address(address)
    if isinstance(read, IPv6Address):
        return str(ip_network((read, 64), strict=False))
    return address if read is None else str(read)


@lru_cache(maxsize=1024)
def is_loopback_address(address: str) -> bool:
    read = _address(address)
    return read is not None and read.is_loopback


def _address(text: str) -> Address | None:
    """Read an address, also with a port or a zone; IPv4 in IPv6 as IPv4. None if it is none."""
    text = text.strip().partition("%")[0]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
