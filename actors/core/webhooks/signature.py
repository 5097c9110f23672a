"""Signs deliveries, as the Standard Webhooks specification (1.0) says.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac

from ..config.webhook_values import signing_key


def signed_headers(delivery_id: str, at: int, body: bytes, secret: str) -> dict[str, str]:
    """The headers of a request made at `at` (seconds since 1970). Without a secret it is not
    signed."""
    headers = {"webhook-id": delivery_id, "webhook-timestamp": str(at)}
    key = signing_key(secret)
    if key is not None:
        signed = f"{delivery_id}.{at}.".encode() + body
        digest = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        headers["webhook-signature"] = f"v1,{digest}"
    return headers
