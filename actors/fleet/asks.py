"""What servers ask the one that leads, as bytes: a batch of commands, and their replies in order.

MessagePack, since a task's JSON is bytes already. A command or a field that the other server does
not know makes the batch malformed: nothing of it is done.
"""

from collections.abc import Sequence
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Raw, Struct

from ..core.messages.command import Command
from ..core.messages.leader_proxy import ForLeader
from ..core.model import errors
from ..core.model.errors import QueueError

ASK_PATH = "/fleet/ask/"  # plus the SHA-256 of the body
MOST_TOGETHER = 256
MOST_BYTES = 1 << 20  # of a batch

_ERRORS = {
    each.__name__: each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, QueueError)
}
_Batch = Annotated[list[ForLeader], Meta(max_length=MOST_TOGETHER)]


class _Told(Struct, frozen=True, tag=True, array_like=True):
    """`kind` is the name of the value's type."""

    kind: str
    value: Raw


class _Refusal(Struct, frozen=True, tag=True, array_like=True):
    """`kind` is the name of the error's type."""

    kind: str
    message: str
    field: str | None = None
    retry_after_s: float | None = None


def encode_command(command: Command[Any]) -> bytes:
    return msgspec.msgpack.encode(command)


def encode_batch(commands: Sequence[bytes]) -> bytes:
    """A batch of encoded commands."""
    return msgspec.msgpack.encode([Raw(command) for command in commands])


def decode_batch(data: bytes) -> list[ForLeader]:
    """Raises `msgspec.MsgspecError` for what is malformed."""
    return msgspec.msgpack.decode(data, type=_Batch)


def encode_replies(replies: Sequence[Any]) -> bytes:
    """Each is a command's reply, or a `QueueError`."""
    return msgspec.msgpack.encode([_encoded(reply) for reply in replies])


def decode_replies(data: bytes, commands: Sequence[Command[Any]]) -> list[Any]:
    """The replies to these commands. Raises `msgspec.MsgspecError`, `ValueError`."""
    replies = msgspec.msgpack.decode(data, type=list[_Told | _Refusal])
    return [_decoded(told, command) for told, command in zip(replies, commands, strict=True)]


def _encoded(reply: Any) -> _Told | _Refusal:
    if isinstance(reply, QueueError):
        kind = next(each.__name__ for each in type(reply).__mro__ if each.__name__ in _ERRORS)
        return _Refusal(kind, reply.message, reply.field, reply.retry_after_s)
    return _Told(type(reply).__name__, Raw(msgspec.msgpack.encode(reply)))


def _decoded(told: _Told | _Refusal, command: Command[Any]) -> Any:
    if isinstance(told, _Refusal):
        error = _ERRORS.get(told.kind, QueueError)
        return error(told.message, field=told.field, retry_after_s=told.retry_after_s)
    kinds = _reply_types(type(command))
    named = kinds if len(kinds) == 1 else [each for each in kinds if each.__name__ == told.kind]
    if not named:
        raise ValueError(f"{told.kind} is no reply to {type(command).__name__}")
    return msgspec.msgpack.decode(told.value, type=named[0])


@cache
def _reply_types(command: type[Command[Any]]) -> tuple[Any, ...]:
    """The types of a command's reply, as it declares them."""
    base = next(each for each in command.__orig_bases__ if issubclass(get_origin(each), Command))  # type: ignore[attr-defined]
    (reply,) = get_args(base)
    return get_args(reply) if get_origin(reply) in (Union, UnionType) else (reply,)
