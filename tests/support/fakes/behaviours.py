"""Behaviours of the fake model server: how it answers one inference call."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

WORDS = ("Hello", " from", " here")


@dataclass(frozen=True)
class Stream:
    """Reply with `words`, a chunk each, then end normally or as `then` says.

    `hang` keeps the connection open until the client leaves, `cut` closes it at once, `error` sends
    a line with `error` and `stop` ends the answer without the stream's end. With a `gate` only the
    first word is sent at once, the others when the test sets it. An embed call gets a vector.
    """

    words: Sequence[str] = WORDS
    then: Literal["end", "hang", "cut", "error", "stop"] = "end"
    gate: threading.Event | None = None
    error: str = "the model runner has died"


@dataclass(frozen=True)
class Answer:
    """Reply with one complete body: bytes unchanged, anything else as JSON."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hang:
    """Send nothing, not even headers, until the client disconnects."""


@dataclass(frozen=True)
class Cut:
    """Close the connection without an answer.

    On a reused connection a client takes it for an idle timeout and sends the request again.
    """


Behaviour = Stream | Answer | Hang | Cut
