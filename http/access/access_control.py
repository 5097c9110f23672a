"""Finds what a request may do, from the API key it comes with."""

import hmac
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Iterator

from ...actors.core.access.keys import EVERYONE, NOBODY, Grant, digest_of
from ...actors.core.access.meters import Failures, TokenBucket, read_rate
from ...actors.core.model.access_keys import Role
from ...actors.core.model.errors import QueueFull, Unauthorized, Unavailable
from ..requests.exchange import Exchange, current

LONGEST = 512  # characters of a key
PROTOCOL = "key."  # before the key, in base64url, as a WebSocket's subprotocol
DELAYED_TOGETHER = 16  # answers to wrong keys that wait at once; others are not delayed
NO_KEYS = "auth.required is set, and there is no API key: name an admin's in auth.keys"
_MISSING = "this server needs an API key: send it as Authorization: Bearer KEY"
_WRONG = "the API key is unknown, or has been revoked"


class AccessControl:
    """The keys of the server, by the SHA-256 of each. Without any, everybody may do everything, or
    nobody anything if they are `required`.

    A key may have `most_per_key` requests in progress, None: any number. It is looked up by its
    hash, so that the time this takes tells nothing of other keys.
    """

    def __init__(
        self,
        grants: Iterable[Grant] = (),
        *,
        required: bool = False,
        most_per_key: int | None = None,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._required, self._most_per_key = required, most_per_key
        self._clock, self._steady, self._sleep = clock, steady, sleep
        self._grants = {grant.digest: grant for grant in grants}
        self._failures, self._delayed = Failures(), 0
        self._buckets: dict[bytes, TokenBucket] = {}
        self._open: dict[bytes, set[Exchange]] = {}  # requests in progress, by key

    @property
    def has_keys(self) -> bool:
        return bool(self._grants)

    @property
    def is_on(self) -> bool:
        """Whether requests need a key."""
        return self._required or self.has_keys

    def replace(self, grants: Iterable[Grant]) -> None:
        """Take these keys in place of all earlier ones. Ends the requests, streams and WebSockets
        of keys that are gone or allow something else now; whoever changes its own key still gets
        the answer."""
        asking = current(None)
        old, self._grants = self._grants, {grant.digest: grant for grant in grants}
        for digest, grant in old.items():
            if self._grants.get(digest) != grant:
                self._buckets.pop(digest, None)
                self._end(digest, asking)

    def end_expired(self) -> None:
        """End what keys have open that have expired since."""
        now = self._clock()
        for digest in [*self._open]:
            if self._grants[digest].has_expired(now):
                self._end(digest)

    def _end(self, digest: bytes, asking: Exchange | None = None) -> None:
        for exchange in self._open.pop(digest, set()):
            if exchange.cut_off is not None and exchange is not asking:
                exchange.cut_off()

    def admit(self, exchange: Exchange, needed: Role | None) -> Grant:
        """The grant of a request to a route that needs this role; None: nobody needs a key.

        Raises `Unauthorized` for a key that is missing, unknown or expired, `Forbidden` for one of
        another role, `QueueFull` if its `rate` is used up or it has too many requests open,
        `Unavailable` if keys are required and there are none.
        """
        if not self.is_on:
            return EVERYONE
        if needed is None:
            return NOBODY
        if not self.has_keys:
            raise Unavailable(NO_KEYS, retry_after_s=60)
        try:
            grant = self.find(exchange)
        except Unauthorized as error:
            if error.message == _WRONG:
                self._slow_down(exchange.address)
            raise
        grant.check_role(needed)
        self._spend(grant)
        if exchange.cut_off is not None:
            self._note_open(grant, exchange)
        return grant

    def _note_open(self, grant: Grant, exchange: Exchange) -> None:
        requests = self._open.setdefault(grant.digest, set())
        if self._most_per_key is not None and len(requests) >= self._most_per_key:
            message = (
                f"the key {grant.name} has {len(requests)} requests, streams and WebSockets open, "
                "as many as server.max_per_address allows"
            )
            raise QueueFull(message, retry_after_s=1)
        requests.add(exchange)

    def may_answer(self, exchange: Exchange) -> bool:
        """Whether a server that does not lead may answer, who knows only the keys as of its last
        beat: not those that are unknown here, nor those whose requests are counted."""
        try:
            return self.find(exchange).rules.rate is None
        except Unauthorized:
            return False

    def find(self, exchange: Exchange) -> Grant:
        """The grant of the key that a request comes with. Raises `Unauthorized`."""
        if not self.is_on:
            return EVERYONE
        is_given = False
        for key in presented(exchange):
            is_given = True
            digest = digest_of(key[:LONGEST])
            grant = self._grants.get(digest)
            if grant is not None and hmac.compare_digest(grant.digest, digest):
                grant.check_time(self._clock())
                return grant
        raise Unauthorized(_WRONG if is_given else _MISSING)

    def leave(self, exchange: Exchange) -> None:
        """Note that a request has been answered."""
        requests = self._open.get(exchange.caller.digest)
        if requests is not None:
            requests.discard(exchange)
            if not requests:
                del self._open[exchange.caller.digest]

    def _spend(self, grant: Grant) -> None:
        rate = grant.rules.rate and read_rate(grant.rules.rate)
        if not rate:
            return
        now = self._steady()
        bucket = self._buckets.get(grant.digest)
        if bucket is None:
            bucket = self._buckets[grant.digest] = TokenBucket(*rate, now)
        if wait := bucket.take(now):
            message = f"the key {grant.name} may send {grant.rules.rate} requests"
            raise QueueFull(message, retry_after_s=wait)

    def _slow_down(self, address: str) -> None:
        """Delay the answer to a wrong key. Right keys from the same address are not delayed: it may
        be that of a proxy."""
        delay = self._failures.note(address, self._steady())
        if not delay or self._delayed >= DELAYED_TOGETHER:
            return
        self._delayed += 1
        try:
            self._sleep(delay)
        finally:
            self._delayed -= 1


def presented(exchange: Exchange) -> Iterator[str]:
    """The keys that a request comes with: OpenAI's and Ollama's clients send `Authorization`,
    Anthropic's `x-api-key`, Azure's `api-key`, the page's WebSocket a subprotocol."""
    headers = exchange.headers
    scheme, _, key = headers.get("authorization", "").strip().partition(" ")
    if key and scheme.lower() == "bearer":
        yield key.strip()
    for name in ("x-api-key", "api-key"):
        if key := headers.get(name, "").strip():
            yield key
    for protocol in headers.get("sec-websocket-protocol", "").split(","):
        if (text := protocol.strip()).startswith(PROTOCOL):
            yield _decoded(text.removeprefix(PROTOCOL))


def _decoded(text: str) -> str:
    """A key from base64url without padding; what is malformed fits no key."""
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:  # includes what is not ASCII, or not UTF-8
        return ""
