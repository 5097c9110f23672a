"""Recognizes pieces of a reply with nothing but text: they are passed on as the server wrote them.

Any other piece, and any that is not certainly well-formed, is decoded completely, checked, and
written anew.
"""

from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

_LONGEST = 64 << 10  # bytes; decoding cannot yield control


class PlainMessage(Struct, forbid_unknown_fields=True, gc=False):
    role: str
    content: str
    thinking: str | UnsetType = UNSET


class PlainChatLine(Struct, forbid_unknown_fields=True, gc=False):
    """A line of Ollama's stream of a chat, but not the last."""

    model: str
    created_at: str
    message: PlainMessage
    done: bool
    remote_model: str | UnsetType = UNSET
    remote_host: str | UnsetType = UNSET


class PlainGenerateLine(Struct, forbid_unknown_fields=True, gc=False):
    """The same of a generation."""

    model: str
    created_at: str
    response: str
    done: bool
    thinking: str | UnsetType = UNSET
    remote_model: str | UnsetType = UNSET
    remote_host: str | UnsetType = UNSET


class PlainDelta(Struct, forbid_unknown_fields=True, gc=False):
    role: str | UnsetType = UNSET
    content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET


Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class PlainChoice(Struct, forbid_unknown_fields=True, gc=False):
    index: Count
    delta: PlainDelta | UnsetType = UNSET
    text: str | UnsetType = UNSET
    logprobs: None = None
    finish_reason: None = None
    stop_reason: None = None
    token_ids: None = None


class PlainEvent(Struct, forbid_unknown_fields=True, gc=False):
    """An event of OpenAI's stream that adds text to one choice."""

    id: str
    object: str
    created: Count
    model: str
    choices: tuple[PlainChoice]
    system_fingerprint: str | None = None
    service_tier: str | None = None
    obfuscation: str | None = None
    usage: None = None


PlainLine = PlainChatLine | PlainGenerateLine
_T = TypeVar("_T", PlainChatLine, PlainGenerateLine, PlainEvent)

CHAT_LINE = msgspec.json.Decoder(PlainChatLine)
GENERATE_LINE = msgspec.json.Decoder(PlainGenerateLine)
EVENT = msgspec.json.Decoder(PlainEvent)


def plain(decoder: "msgspec.json.Decoder[_T]", text: bytes) -> _T | None:
    """The piece, if it is plain. All text in it is decoded, and so known to be valid."""
    if len(text) > _LONGEST or b"\r" in text or b"\n" in text:  # a piece is passed on on one line
        return None
    try:
        return decoder.decode(text)
    except (ValueError, RecursionError):
        return None
