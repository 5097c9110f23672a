"""Ids of tasks, in order of arrival, and digests of idempotency keys."""

import hashlib
import re
from typing import Any

import msgspec
from msgspec.structs import replace

from .tasks import NewTask

_ENCODER = msgspec.json.Encoder(order="deterministic")
# The last fields of a task that is without them, from the end.
_NEWER = (
    b',"callback_url":null',
    b',"tracestate":null',
    b',"traceparent":null',
    b',"start_within":null',
    b',"deadline":null',
    b',"fallback_models":null',
)


def mint(at_us: int, chance: int) -> str:
    """A UUIDv7 for the instant `at_us` (microseconds since 1970), with 62 random bits `chance`.

    The microseconds below the millisecond fill `rand_a` (RFC 9562, section 6.2, method 3), so
    that ids of different microseconds sort by time.
    """
    ms, us = divmod(at_us, 1000)
    high = ms << 16 | 7 << 12 | us * 4096 // 1000
    text = (high << 64 | 2 << 62 | chance & (2**62 - 1)).to_bytes(16, "big").hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_BATCH = re.compile(
    r"(?:msg)?batch_([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})"
)


def plain_batch_id(batch_id: str) -> str | None:
    """The queue's own id of a batch named as in OpenAI's or Anthropic's API; None for others."""
    matched = _BATCH.fullmatch(batch_id)
    return None if matched is None else "-".join(matched.groups())


def instant_of(task_id: str) -> int:
    """The microsecond (rounded down) in which an id was minted."""
    value = int(task_id.replace("-", ""), 16)
    return (value >> 80) * 1000 + ((value >> 64 & 0xFFF) * 1000 + 4095) // 4096


def key_digest(tenant: str | None, key: str) -> bytes:
    """A 16-byte digest of an idempotency key; each tenant has its own keys."""
    return digest(_ENCODER.encode([tenant or "", key]))


def canonical(task: NewTask) -> bytes:
    """A task's JSON, independent of the order of its fields. Newer fields are in it only if they
    are set, so that digests in the store stay those of the same tasks.

    Its deadline and trace are not in it: who repeats a request may well count it anew, and traces
    each request on its own.
    """
    if task.deadline is not None or task.traceparent is not None:
        task = replace(task, deadline=None, traceparent=None, tracestate=None)
    written = _ENCODER.encode(task)
    end = len(written) - 1
    for unset in _NEWER:
        if written.endswith(unset, 0, end):
            end -= len(unset)
    return written[:end] + b"}"


def body_digest(task: NewTask) -> bytes:
    """A 16-byte digest of a task, independent of the order of its fields."""
    return digest(canonical(task))


def request_digest(body: Any) -> bytes:
    """A 16-byte digest of a request's JSON, independent of the order of its fields."""
    return digest(_ENCODER.encode(body))


class BatchDigest:
    """A 16-byte digest of a batch's tasks, in order."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)

    def add(self, task: NewTask) -> None:
        self._digest.update(body_digest(task))

    def digest(self) -> bytes:
        return self._digest.digest()


def digest(written: bytes) -> bytes:
    """A 16-byte digest of these bytes."""
    return hashlib.blake2b(written, digest_size=16).digest()
