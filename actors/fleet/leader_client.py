"""What a server that follows asks the leader for its own answers: what only the plan knows."""

import hashlib
import threading
from collections.abc import Callable, Collection
from contextlib import closing
from typing import TypeVar
from urllib.parse import quote

import httpx
import msgspec

from ..base.receiver import MakeReceiver, PlainReceiver
from ..core.model.errors import Unavailable
from ..core.model.stats import QueueStats, Waiting
from ..executors.transport import ConnectionTransport, Target
from . import signature

EXPLAIN_PATH = "/fleet/waiting/"  # plus the SHA-256 of the body, a list of ids as JSON
STATS_PATH = "/fleet/stats/"  # plus a tenant, or nothing
SILENCE_S = 2.0
MOST_IDLE = 4
T = TypeVar("T")
Where = Callable[[], tuple[str | None, bytes]]
"""The address of the server that leads, None if there is none, and the servers' secret."""


class LeaderClient:
    """Asks over a few connections. Safe in any thread; raises `Unavailable`."""

    def __init__(self, where: Where, make_receiver: MakeReceiver = PlainReceiver) -> None:
        self._where, self._make_receiver = where, make_receiver
        self._idle: list[ConnectionTransport] = []
        self._lock = threading.Lock()

    def explain(self, task_ids: Collection[str]) -> dict[str, Waiting]:
        """Why these tasks wait, of those that do."""
        body = msgspec.json.encode(list(task_ids))
        path = EXPLAIN_PATH + hashlib.sha256(body).hexdigest()
        return self._ask("POST", path, body, dict[str, Waiting])

    def stats(self, tenant: str | None) -> QueueStats:
        """The state of the queue as far as a tenant's tasks go; None: of all."""
        return self._ask("GET", STATS_PATH + quote(tenant or "", safe=""), None, QueueStats)

    def _ask(self, method: str, path: str, body: bytes | None, reply: type[T]) -> T:
        url, secret = self._where()
        if url is None:
            raise Unavailable("no server leads the queue at the moment", retry_after_s=1)
        with self._lock:
            transport = self._idle.pop() if self._idle else None
        if transport is None:
            transport = ConnectionTransport(SILENCE_S, make_receiver=self._make_receiver)
        transport.begin()
        try:
            with closing(transport.send(signed_target(url, secret, method, path), body)) as answer:
                data = b"".join(answer)
                if answer.status == 200:
                    return msgspec.json.decode(data, type=reply)
        except (httpx.HTTPError, msgspec.MsgspecError) as error:
            raise Unavailable(
                f"the server that leads does not answer: {error}", retry_after_s=1
            ) from None
        finally:
            with self._lock:
                if len(self._idle) < MOST_IDLE:
                    self._idle.append(transport)
                    transport = None
            if transport is not None:
                transport.close()
        raise Unavailable("the server asked does not lead", retry_after_s=1)


def signed_target(url: str, secret: bytes, method: str, path: str) -> Target:
    """A request of one server to another."""
    whole = httpx.URL(url).join(path)
    signed = signature.sign(secret, "-", method, path)
    headers = {"Host": whole.netloc.decode(), signature.HEADER: signed}
    return Target(method, whole, httpx.Headers(headers))
