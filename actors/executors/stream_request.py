"""How a streamed reply is asked for, and again where a server refuses what the queue adds.

The queue streams each call, so that it can be watched and cut, and has its tokens counted. A client
that sent neither field must not fail for them: a server that refuses one is asked again without.
"""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from ..core.model.outcomes import Failed, Verdict
from .failures import CallFailed
from .http_executor import HttpExecutor, object_in

STREAM, OPTIONS = "stream", "stream_options"
_STATUSES = (400, 422, 500, 501)
_NAMES = {  # what a refusal says of each
    OPTIONS: re.compile(r"\bstream_options\b|\binclude_usage\b"),
    STREAM: re.compile(r"\bstream(ing)?\b", re.IGNORECASE),
}


@contextlib.contextmanager
def streamed(
    executor: HttpExecutor, path: str, body: dict[str, Any], without: frozenset[str]
) -> Iterator[tuple[Iterator[bytes], frozenset[str]]]:
    """Ask for a reply in pieces, but `without` the fields that this server has refused before.

    Gives the bytes of the answer, and the fields that it was asked without in the end; without
    `stream` the reply comes whole. Raises as `post` does.
    """
    with contextlib.ExitStack() as stack:
        while True:
            try:
                pieces = stack.enter_context(executor.post(path, _body(body, without)))
                break
            except CallFailed as failure:
                refused = _refused(failure.outcome, without)
                if refused is None:
                    raise
                without |= {refused}
        yield pieces, without


def _body(body: dict[str, Any], without: frozenset[str]) -> dict[str, Any]:
    """The request; options of the stream that the task has itself are sent where it is streamed."""
    rest = {name: value for name, value in body.items() if name not in (STREAM, OPTIONS)}
    if STREAM in without:
        return rest
    own_options = object_in(body, OPTIONS)
    options = own_options if OPTIONS in without else {**own_options, "include_usage": True}
    return {**rest, STREAM: True, **({OPTIONS: options} if options else {})}


def _refused(failed: Failed, without: frozenset[str]) -> str | None:
    """The field to ask again without.

    A refusal that only seems to speak of it costs one more request, which is refused, too.
    """
    if failed.verdict is not Verdict.FINAL or failed.status not in _STATUSES or not failed.upstream:
        return None
    complaint = f"{failed.upstream.param or ''} {failed.upstream.message}"
    for field in (OPTIONS, STREAM):
        if field not in without and STREAM not in without and _NAMES[field].search(complaint):
            return field
    return None
