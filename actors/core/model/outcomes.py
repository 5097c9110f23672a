"""How a call to a model ended: what an executor returns and the plan decides on."""

from enum import StrEnum

from msgspec import Struct

from .tasks import Upstream


class Verdict(StrEnum):
    """What a failed call means for the next one.

    FINAL: the same call would fail again (4xx, 501, words that are known to be for good, a request
    that cannot be made).
    RETRY: it may work later (408, 425, 429, other 5xx, an error inside a stream, a reply that
    cannot be read, `timeout_s`).
    CUT: as RETRY, and the server's own doing: the connection broke, or no byte came for too long.
    REFUSED: the server never took the call on (DNS, refused, connect timeout, 503).
    NO_MODEL: the server does not have the model (any more): another one may.
    """

    FINAL = "final"
    RETRY = "retry"
    CUT = "cut"
    REFUSED = "refused"
    NO_MODEL = "no_model"


class Answered(Struct, frozen=True):
    """The model answered; `result` is the whole reply as JSON, in the task's dialect.

    `reply_s` is how long the model generated, `load_s` how long it was loaded before, in seconds;
    None where the server does not say. Tokens are 0 there. `without` names what the server refuses
    of what the queue adds to a request (`stream_options`, `stream`), and so was not asked.
    """

    result: bytes
    prompt_tokens: int = 0
    reply_tokens: int = 0
    reply_s: float | None = None
    load_s: float | None = None
    without: frozenset[str] = frozenset()


class Failed(Struct, frozen=True):
    """The call failed. `error` is one sentence, with the server's own words where it had any.

    `status` is that of its HTTP answer, None where there was none; `upstream` is what a client of
    the server itself would hear.
    """

    error: str
    verdict: Verdict
    retry_after_s: float | None = None
    status: int | None = None
    upstream: Upstream | None = None


class Stopped(Struct, frozen=True):
    """The call was ended from our side (cancel, shutdown): no fault of anyone's."""


Outcome = Answered | Failed | Stopped

# What a model server says to a call past the queue: the body of its answer, or why there is none.
BackendReply = bytes | Failed


class ProbeResult(Struct, frozen=True):
    """What a probe of a model server found.

    `error` is None when it is well, else one sentence; `retry_after_s` is how long it asked to be
    left alone. Names of models are as `routing.model_name` gives them, and `spelled` as
    `routing.spellings`; `models` is None where the server cannot list them, `loaded` those in
    memory (empty where it does not say).
    """

    error: str | None = None
    version: str | None = None
    models: frozenset[str] | None = None
    loaded: frozenset[str] = frozenset()
    retry_after_s: float | None = None
    spelled: dict[str, str] = {}
