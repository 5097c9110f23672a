"""Joins the pieces of a streamed OpenAI reply into its unstreamed form: pure."""

from operator import attrgetter
from typing import Any

from msgspec import UNSET

from ..core.model.tasks import TaskType
from ..core.text.plain_pieces import PlainChoice, PlainDelta, PlainEvent
from .http_executor import list_in, object_in, text_in

_OBJECTS = {TaskType.CHAT: "chat.completion", TaskType.GENERATE: "text_completion"}
# Text that arrives in pieces; of all other fields, the last value counts.
_GROWING = frozenset(
    ("content", "text", "reasoning", "reasoning_content", "refusal", "arguments", "transcript")
)
_HEAD = ("id", "object", "created", "model", "system_fingerprint", "service_tier")
_head_of = attrgetter(*_HEAD)
_TEXTS = ("content", "reasoning", "reasoning_content")
_texts_of = attrgetter(*_TEXTS)
_EMPTY = PlainDelta()


class WholeReply:
    """The reply so far."""

    def __init__(self, kind: TaskType) -> None:
        self._kind = kind
        self._head: dict[str, Any] = {}
        self._plain_head: tuple[Any, ...] | None = None  # of the piece before, if it was plain
        self._choices: dict[int, _Object] = {}

    @property
    def has_begun(self) -> bool:
        return bool(self._choices)

    @property
    def is_finished(self) -> bool:
        """Whether each choice has a finish reason."""
        return bool(self._choices) and all(c.has("finish_reason") for c in self._choices.values())

    @property
    def usage(self) -> dict[str, Any]:
        return object_in(self._head, "usage")

    def take(self, piece: dict[str, Any]) -> bool:
        """Add a piece. Returns whether it contains output, not only metadata."""
        changed = False
        self._plain_head = None
        for name, value in piece.items():
            if name not in ("choices", "obfuscation") and value is not None:
                self._head[name] = value
        for place, choice in enumerate(list_in(piece, "choices")):
            if isinstance(choice, dict):
                index = choice.get("index")
                known = self._choices.setdefault(index if type(index) is int else place, _Object())
                known.take(choice)
                changed = changed or bool(object_in(choice, "delta") or text_in(choice, "text"))
        return changed

    def take_plain(self, piece: PlainEvent) -> bool:
        """Add a piece with nothing but text, as `take` does, to a choice that has begun.

        Returns False if it has not, or the piece is empty: then `take` it.
        """
        (choice,) = piece.choices
        known = self._choices.get(choice.index)
        if known is None or not (choice.text or (choice.delta and choice.delta != _EMPTY)):
            return False
        known.take_plain(choice)
        head = _head_of(piece)
        if head != self._plain_head:
            self._plain_head = head
            self._head.update(
                (name, value) for name, value in zip(_HEAD, head, strict=True) if value is not None
            )
        return True

    def whole(self) -> dict[str, Any]:
        choices = [self._choices[index].whole() for index in sorted(self._choices)]
        if self._kind is TaskType.CHAT:
            choices = [_with_message(choice) for choice in choices]
        return {**self._head, "object": _OBJECTS[self._kind], "choices": choices}


class _Object:
    """An object that arrives in pieces."""

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}

    def has(self, name: str) -> bool:
        return self._fields.get(name) is not None

    def take(self, piece: dict[str, Any]) -> None:
        for name, value in piece.items():
            known = self._fields.get(name)
            if isinstance(value, str) and name in _GROWING:
                known = self._grown(name, known, _JoinedText)
                known.append(value)
            elif isinstance(value, dict):
                self._grown(name, known, _Object).take(value)
            elif isinstance(value, list):
                self._grown(name, known, _List).take(value)
            elif known is None or value not in (None, ""):
                self._fields[name] = value

    def take_plain(self, choice: PlainChoice) -> None:
        """Add the text of a choice, as `take` does."""
        if choice.text is not UNSET:
            self._add("text", choice.text)
        delta = choice.delta
        if delta is UNSET:
            return
        parts = self._grown("delta", self._fields.get("delta"), _Object)
        fields = parts._fields
        if delta.role:
            fields["role"] = delta.role
        for name, text in zip(_TEXTS, _texts_of(delta), strict=True):
            if text is UNSET:
                continue
            known = fields.get(name)
            if type(known) is _JoinedText:  # most often
                known.append(text)
            else:
                parts._add(name, text)

    def _add(self, name: str, text: str) -> None:
        self._grown(name, self._fields.get(name), _JoinedText).append(text)

    def is_another(self, piece: dict[str, Any]) -> bool:
        """Whether `piece` starts another tool call: some servers reuse an index, with a new id."""
        ids, names = (self._fields.get("id"), piece.get("id")), object_in(piece, "function")
        return all(ids) and ids[0] != ids[1] and bool(text_in(names, "name"))

    def whole(self) -> dict[str, Any]:
        return {name: _whole(value) for name, value in self._fields.items()}

    def _grown(self, name: str, known: Any, kind: type[Any]) -> Any:
        if not isinstance(known, kind):
            known = self._fields[name] = kind()
        return known


class _List:
    """A list that arrives in pieces: items with an `index` (tool calls) merge, others append."""

    def __init__(self) -> None:
        self._items: list[Any] = []
        self._at: dict[int, _Object] = {}

    def take(self, piece: list[Any]) -> None:
        for item in piece:
            index = item.get("index") if isinstance(item, dict) else None
            if type(index) is not int:
                self._items.append(item)
                continue
            known = self._at.get(index)
            if known is None or known.is_another(item):
                known = self._at[index] = _Object()
                self._items.append(known)
            known.take({name: value for name, value in item.items() if name != "index"})

    def whole(self) -> list[Any]:
        return [_whole(item) for item in self._items]


class _JoinedText(list[str]):
    def whole(self) -> str:
        return "".join(self)


def _whole(value: Any) -> Any:
    return value.whole() if isinstance(value, _Object | _List | _JoinedText) else value


def _with_message(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice with its deltas joined into one message."""
    rest = {name: value for name, value in choice.items() if name != "delta"}
    message = {"role": "assistant", "content": None, **object_in(choice, "delta")}
    return {**rest, "message": message}
