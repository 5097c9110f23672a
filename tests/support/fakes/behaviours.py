"""What a test can ask of the fake server: how one inference call is to go."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

WORDS = ("Hello", " from", " here")


@dataclass(frozen=True)
class Stream:
    """Reply with `words`, a chunk each, then end well or otherwise.

    `hang` keeps the connection open until the client leaves, `cut` closes it at once, `error` sends
    a line with `error` and `stop` ends the answer without the stream's own end. With a `gate` only
    the first word comes at once, the rest when the test sets it. An embed call gets a vector.
    """

    words: Sequence[str] = WORDS
    then: Literal["end", "hang", "cut", "error", "stop"] = "end"
    gate: threading.Event | None = None
    error: str = "the model runner has died"


@dataclass(frozen=True)
class Answer:
    """Reply with one whole body: bytes as they are, anything else as JSON."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hang:
    """Say nothing, not even headers, until the client leaves."""


@dataclass(frozen=True)
class Cut:
    """Close the connection without a word.

    To a client with a warm connection that is an idle one it lost: it sends the request again.
    """


Behaviour = Stream | Answer | Hang | Cut
