"""The address of a client, as the server that passes its request on vouches for it.

It is signed with a secret that only the servers of a queue know, as it lies in their database. So a
stranger who sends the header himself gains nothing; nor, after a minute, who has overheard one.
"""

import hashlib
import hmac
import time
from collections.abc import Callable

HEADER = "X-Queue-Client"
FRESH_S = 60  # for so long a signature counts


class Seal:
    """What the servers of a queue sign with: their secret, and the time of their database, as their
    own clocks may differ. Used in any thread."""

    def __init__(self, secret: bytes = b"", clock: Callable[[], float] = time.monotonic) -> None:
        self.secret, self._clock = secret, clock
        self.set_time(time.time())

    def set_time(self, now: float) -> None:
        """`now` is what the database's clock shows, in seconds since 1970."""
        self._ahead_s = now - self._clock()

    def _now(self) -> float:
        return self._clock() + self._ahead_s

    def sign(self, address: str, method: str, target: str) -> str:
        """The header's value: the address, the time, and a signature of both for this request."""
        signed = f"{address} {round(self._now())}"
        return f"{signed} {self._signature(signed, method, target)}"

    def vouched(self, value: str, method: str, target: str) -> str | None:
        """The address in a header that one of our servers has just signed for this request, else
        None."""
        signed, _, signature = value.rpartition(" ")
        wanted = self._signature(signed, method, target)
        # Bytes: `compare_digest` refuses text that is not ASCII.
        is_ours = hmac.compare_digest(signature.encode("latin1", "replace"), wanted.encode())
        if not (self.secret and is_ours):
            return None
        address, has_time, at = signed.rpartition(" ")
        if not has_time:  # servers of 0.1 that are being upgraded sign none
            return signed
        return address if abs(self._now() - int(at)) <= FRESH_S else None

    def _signature(self, signed: str, method: str, target: str) -> str:
        message = "\n".join((signed, method, target)).encode("latin1", "replace")
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()
