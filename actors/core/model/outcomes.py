"""How a call to a model ended: executors return it, and the plan decides on it."""

from enum import StrEnum

from msgspec import Struct

from .tasks import Upstream


class Verdict(StrEnum):
    """What a failed call means for the next one.

    FINAL: the same call would fail again (4xx, 501, a message known to be permanent, a request
    that cannot be made).
    RETRY: it may work later (408, 425, 429, other 5xx, an error inside a stream, a reply that
    cannot be read, `timeout_s`).
    CUT: like RETRY, but the server's fault: the connection broke, or no byte came for too long.
    REFUSED: the server did not accept the call (DNS, refused, connect timeout, 503).
    NO_MODEL: the server does not have the model (any more); another may.
    """

    FINAL = "final"
    RETRY = "retry"
    CUT = "cut"
    REFUSED = "refused"
    NO_MODEL = "no_model"


class Answered(Struct, frozen=True, tag=True):
    """The model answered; `result` is the complete reply as JSON, in the task's dialect.

    `reply_s` is how long the model generated, `load_s` how long it took to load, in seconds; None
    where the server does not say (and tokens 0). `without` are fields that the queue adds to
    requests (`stream_options`, `stream`) and left out here because the server refuses them.
    """

    result: bytes
    prompt_tokens: int = 0
    reply_tokens: int = 0
    reply_s: float | None = None
    load_s: float | None = None
    without: frozenset[str] = frozenset()


class Failed(Struct, frozen=True, tag=True):
    """The call failed. `error` is one sentence, with the server's own message if it sent one.

    `status` is that of its HTTP answer, None without one; `upstream` is the error that a direct
    client of the server would get.
    """

    error: str
    verdict: Verdict
    retry_after_s: float | None = None
    status: int | None = None
    upstream: Upstream | None = None


class Stopped(Struct, frozen=True, tag=True):
    """The call was stopped by us (cancel, shutdown), which is no failure."""


Outcome = Answered | Failed | Stopped


class CallEnd(Struct, frozen=True):
    """How a call of another server ended: without an outcome, it was lost, and `error` says why."""

    outcome: Outcome | None
    error: str = ""


# A model server's answer to a call outside the queue: its body, or why there is none.
BackendReply = bytes | Failed


class ProbeResult(Struct, frozen=True):
    """The result of probing a model server.

    `error` is None when it is healthy, else one sentence; `retry_after_s` is how long it asked to
    get no calls. Models are named as by `model_name`, and `spelled` is as from `spellings`;
    `models` is None where the server cannot list them, `loaded` are those in memory (empty where
    it does not say).
    """

    error: str | None = None
    version: str | None = None
    models: frozenset[str] | None = None
    loaded: frozenset[str] = frozenset()
    retry_after_s: float | None = None
    spelled: dict[str, str] = {}
