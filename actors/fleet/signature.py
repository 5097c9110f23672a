"""The address of a client, as the server that passes its request on vouches for it.

It is signed with a secret that only the servers of a queue know, as it lies in their database. So a
stranger who sends the header himself gains nothing.
"""

import hashlib
import hmac

HEADER = "X-Queue-Client"


def sign(secret: bytes, address: str, method: str, target: str) -> str:
    """The header's value: the address, and a signature of it for this request."""
    return f"{address} {_signature(secret, address, method, target)}"


def vouched(secret: bytes, value: str, method: str, target: str) -> str | None:
    """The address in a header that one of our servers has signed for this request, else None."""
    address, _, signature = value.rpartition(" ")
    wanted = _signature(secret, address, method, target)
    # Bytes: `compare_digest` refuses text that is not ASCII.
    is_ours = hmac.compare_digest(signature.encode("latin1", "replace"), wanted.encode())
    return address if secret and is_ours else None


def _signature(secret: bytes, address: str, method: str, target: str) -> str:
    message = "\n".join((address, method, target)).encode("latin1", "replace")
    return hmac.new(secret, message, hashlib.sha256).hexdigest()
