"""Requests a reply, and again without what the queue added or the task only wishes, if refused.

The queue streams each call, so that it can be followed and aborted, and has its tokens counted. A
client that sent neither field must not fail because of them: the request is sent again without.
The same goes for thinking where a task prefers it (`prefer_think`), and the model cannot.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from ..core.model.outcomes import Failed, Verdict
from ..core.openai.translation import EFFORT
from .failures import CallFailed
from .http_executor import HttpExecutor, object_in

STREAM, OPTIONS, THINK = "stream", "stream_options", "think"
_STATUSES = (400, 422, 500, 501)
_THINKING = re.compile(r"\bthink(ing)?\b|\breasoning(_effort)?\b", re.IGNORECASE)
_NAMES = {  # how a refusal refers to each
    OPTIONS: re.compile(r"\bstream_options\b|\binclude_usage\b"),
    STREAM: re.compile(r"\bstream(ing)?\b", re.IGNORECASE),
    THINK: _THINKING,
    EFFORT: _THINKING,
}


@contextlib.contextmanager
def streamed(
    executor: HttpExecutor,
    path: str,
    body: dict[str, Any],
    without: frozenset[str],
    *,
    wishes: tuple[str, ...] = (),
) -> Iterator[tuple[Iterator[bytes], frozenset[str]]]:
    """Request a reply in pieces of OpenAI's API, `without` the fields that this server has refused
    before.

    `wishes` are fields of the task's own that may be left out too. Yields the bytes of the answer,
    and the fields that were left out in the end; without `stream`, the reply arrives complete.
    Raises as `post` does.
    """

    def fields(without: frozenset[str]) -> tuple[str, ...]:
        return wishes if STREAM in without else (OPTIONS, STREAM, *wishes)

    def sent(without: frozenset[str]) -> dict[str, Any]:
        return _streaming(_wishing(body, wishes, without), without)

    with _requested(executor, path, sent, without, fields) as answer:
        yield answer


@contextlib.contextmanager
def wishing(
    executor: HttpExecutor,
    path: str,
    body: dict[str, Any],
    without: frozenset[str],
    wishes: tuple[str, ...],
) -> Iterator[tuple[Iterator[bytes], frozenset[str]]]:
    """Request a reply; of its fields, those of `wishes` may be left out, as `streamed` does."""

    def sent(without: frozenset[str]) -> dict[str, Any]:
        return _wishing(body, wishes, without)

    with _requested(executor, path, sent, without, lambda _: wishes) as answer:
        yield answer


@contextlib.contextmanager
def _requested(
    executor: HttpExecutor,
    path: str,
    body: Callable[[frozenset[str]], dict[str, Any]],
    without: frozenset[str],
    fields: Callable[[frozenset[str]], tuple[str, ...]],
) -> Iterator[tuple[Iterator[bytes], frozenset[str]]]:
    """Send `body(without)` until the server takes it, each time without another of `fields`."""
    with contextlib.ExitStack() as stack:
        while True:
            try:
                pieces = stack.enter_context(executor.post(path, body(without)))
                break
            except CallFailed as failure:
                refused = _refused(failure.outcome, without, fields(without))
                if refused is None:
                    raise
                without |= {refused}
        yield pieces, without


def _wishing(
    body: dict[str, Any], wishes: tuple[str, ...], without: frozenset[str]
) -> dict[str, Any]:
    left_out = without.intersection(wishes)
    return {name: value for name, value in body.items() if name not in left_out}


def _streaming(body: dict[str, Any], without: frozenset[str]) -> dict[str, Any]:
    """The request body. The task's own stream options are kept if the reply is streamed."""
    rest = {name: value for name, value in body.items() if name not in (STREAM, OPTIONS)}
    if STREAM in without:
        return rest
    own_options = object_in(body, OPTIONS)
    options = own_options if OPTIONS in without else {**own_options, "include_usage": True}
    return {**rest, STREAM: True, **({OPTIONS: options} if options else {})}


def _refused(failed: Failed, without: frozenset[str], fields: tuple[str, ...]) -> str | None:
    """The field to leave out in the next request.

    A refusal that only seems to refer to it costs one more request, which is also refused.
    """
    if failed.verdict is not Verdict.FINAL or failed.status not in _STATUSES or not failed.upstream:
        return None
    complaint = f"{failed.upstream.param or ''} {failed.upstream.message}"
    for field in fields:
        if field not in without and _NAMES[field].search(complaint):
            return field
    return None
