"""Requests a streamed reply, and retries without fields that the queue added and a server refuses.

The queue streams each call, so that it can be followed and aborted, and has its tokens counted. A
client that sent neither field must not fail because of them: the request is sent again without.
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
_NAMES = {  # how a refusal refers to each
    OPTIONS: re.compile(r"\bstream_options\b|\binclude_usage\b"),
    STREAM: re.compile(r"\bstream(ing)?\b", re.IGNORECASE),
}


@contextlib.contextmanager
def streamed(
    executor: HttpExecutor, path: str, body: dict[str, Any], without: frozenset[str]
) -> Iterator[tuple[Iterator[bytes], frozenset[str]]]:
    """Request a reply in pieces, `without` the fields that this server has refused before.

    Yields the bytes of the answer, and the fields that were left out in the end; without
    `stream`, the reply arrives complete. Raises as `post` does.
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
    """The request body. The task's own stream options are kept if the reply is streamed."""
    rest = {name: value for name, value in body.items() if name not in (STREAM, OPTIONS)}
    if STREAM in without:
        return rest
    own_options = object_in(body, OPTIONS)
    options = own_options if OPTIONS in without else {**own_options, "include_usage": True}
    return {**rest, STREAM: True, **({OPTIONS: options} if options else {})}


def _refused(failed: Failed, without: frozenset[str]) -> str | None:
    """The field to leave out in the next request.

    A refusal that only seems to refer to it costs one more request, which is also refused.
    """
    if failed.verdict is not Verdict.FINAL or failed.status not in _STATUSES or not failed.upstream:
        return None
    complaint = f"{failed.upstream.param or ''} {failed.upstream.message}"
    for field in (OPTIONS, STREAM):
        if field not in without and STREAM not in without and _NAMES[field].search(complaint):
            return field
    return None
