"""Where deliveries may go.

Users choose the URLs, and the server makes the requests: without a check they could reach what only
the server can (server-side request forgery). So the address itself is checked, when it is connected
to, as a name may resolve to another one by then.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from ..config.urls import is_http_url
from ..config.webhook_values import Network

URL = 2048  # characters
_NAT64 = ip_network("64:ff9b::/96")


def is_allowed(address: str, allowed: Iterable[Network]) -> bool:
    """Whether a delivery may go to this address: a public one, or one of the networks."""
    ip = _innermost(ip_address(address.partition("%")[0]))
    return (ip.is_global and not ip.is_multicast) or any(ip in network for network in allowed)


def _innermost(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(ip, IPv4Address):
        return ip
    inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
    if inner is None and ip in _NAT64:
        inner = IPv4Address(int(ip) & 0xFFFFFFFF)
    return inner or ip


def target_fault(url: str) -> str | None:
    """What a URL for deliveries must be, if this is not one; else None."""
    if len(url) > URL:
        return f"a URL of at most {URL} characters"
    if not is_http_url(url) or not url.isascii() or not url.isprintable():
        return "an http(s) URL, such as https://app.example.com/hooks"
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.fragment:
        return "a URL without user name, password and fragment"
    return None
