"""The routes of API keys."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Protocol

from ...actors.core.model.access_keys import KeyCreated, NewKey
from ...actors.core.model.errors import Forbidden
from .. import routes
from ..requests import reading
from ..requests.exchange import current
from .answers import Handlers

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


class KeyedQueue(Protocol):
    def add_key(self, new: NewKey | Mapping[str, Any]) -> KeyCreated: ...


def key_handlers(queue: KeyedQueue, max_body: int) -> Handlers:
    def add() -> Any:
        if current().caller.is_unlimited:
            _check_is_local()
        current().status = 201
        return queue.add_key(reading.json_object(max_body))

    return {routes.ADD_KEY: add}


def _check_is_local() -> None:
    """Let only this machine add the first key: with it, all others are locked out.

    A proxy on this machine speaks for others. Raises `Forbidden`.
    """
    exchange = current()
    try:
        is_local = ip_address(exchange.address).is_loopback
    except ValueError:
        is_local = False
    if not is_local or any(name in exchange.headers for name in _FORWARDED):
        raise Forbidden(
            "the first key is added on the server's own machine, or named in auth.keys of its "
            "configuration"
        )
