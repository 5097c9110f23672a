"""The messages of a request as messages of a chat: blocks of text, images, tools and thinking."""

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from ..model.errors import Invalid

_ROLES = ("user", "assistant", "system")
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
BETWEEN = "\n\n"  # separate texts; those of an assistant are pieces of one
_DEEPEST = 4  # blocks inside blocks: a message, the result of a tool, a document, its content


def messages_of(value: list[Any], first: int) -> Generator[None, None, list[dict[str, Any]]]:
    """The messages of a chat task, from the `first` of the request's, with a pause after each
    block. Raises `Invalid`, naming the message and the block.

    Messages of one role in a row are one, as in Anthropic's API, and later ones of the system
    belong to the user: many models accept nothing else. Results of tools come first, each as a
    message of its own, with their images in the user's message behind them: not every server
    takes images in the result of a tool. Blocks of other types, such as those that Anthropic's
    own tools leave, are skipped; so is a message without content.
    """
    names: dict[str, str] = {}  # of tools, by the id of their call
    messages: list[dict[str, Any]] = []
    turn, speaker = _Blocks(names), ""
    for index in range(first, len(value)):
        role = role_of(value[index], index)
        role = "user" if role == "system" else role
        if role != speaker:
            messages += turn.messages(speaker)
            turn, speaker = _Blocks(names), role
        yield from turn.take_all(value[index].get("content"), f"messages[{index}].content")
        yield
    messages += turn.messages(speaker)
    if not messages:
        raise Invalid("messages must have some content", field="messages")
    return messages


def role_of(message: Any, index: int) -> str:
    """The role of a message. Raises `Invalid`."""
    role = message.get("role") if isinstance(message, Mapping) else None
    if isinstance(role, str) and role in _ROLES:
        return role
    where = f"messages[{index}]"
    raise Invalid(f"{where} must be an object with the role user or assistant", field=where)


def text_of(value: Any, where: str) -> Generator[None, None, str]:
    """A text, or blocks of text and documents, with a pause after each. Raises `Invalid`, naming
    the block."""
    read = _Blocks({})
    yield from read.take_all(value, where)
    return BETWEEN.join(read.texts)


class _Blocks:
    """Reads the blocks of one turn; `names` are those of the tools called so far, by id.

    `depth` is 1 for those of its messages, one more for those inside a block.
    """

    def __init__(self, names: dict[str, str], depth: int = 1) -> None:
        self._names, self._depth = names, depth
        self.texts: list[str] = []
        self.images: list[str] = []
        self.thinking: list[str] = []
        self.calls: list[dict[str, Any]] = []
        self.results: list[dict[str, Any]] = []

    def messages(self, role: str) -> list[dict[str, Any]]:
        """The turn of `role`, if it has any content, behind the results of tools."""
        said: dict[str, Any] = {"content": BETWEEN.join(self.texts), "images": self.images}
        if role == "assistant":
            said |= {
                "content": "".join(self.texts),
                "thinking": "".join(self.thinking),
                "tool_calls": self.calls,
            }
        present = {name: part for name, part in said.items() if part}
        own = [{"role": role, "content": "", **present}] if present else []
        return [*self.results, *own]

    def take_all(self, content: Any, where: str) -> Iterator[None]:
        if self._depth > _DEEPEST:
            raise Invalid(f"{where} is nested too deeply", field=where)
        if isinstance(content, str):
            self._add(content)
            return
        if not isinstance(content, list):
            raise Invalid(f"{where} must be a string or a list of blocks", field=where)
        for index, block in enumerate(content):
            place = f"{where}[{index}]"
            if not isinstance(block, Mapping) or not isinstance(block.get("type"), str):
                raise Invalid(f"{place} must be an object with a type", field=place)
            yield from self._take(block, place)
            yield

    def _take(self, block: Mapping[str, Any], where: str) -> Iterator[None]:
        match block["type"]:
            case "text":
                self._add(_text(block, "text", where))
            case "image":
                self.images.append(_image(block.get("source"), f"{where}.source"))
            case "document":
                yield from self._document(block, where)
            case "search_result":
                yield from self._inner(block.get("content"), f"{where}.content")
            case "thinking":
                self.thinking.append(_text(block, "thinking", where))
            case "tool_use":
                self._call(block, where)
            case "tool_result":
                yield from self._result(block, where)
            case _:
                pass

    def _inner(self, content: Any, where: str) -> Iterator[None]:
        """Add the texts and images of blocks inside a block."""
        inner = _Blocks({}, self._depth + 1)
        yield from inner.take_all(content, where)
        self.texts += inner.texts
        self.images += inner.images

    def _add(self, text: str) -> None:
        if text:
            self.texts.append(text)

    def _document(self, block: Mapping[str, Any], where: str) -> Iterator[None]:
        source, place = block.get("source"), f"{where}.source"
        if not isinstance(source, Mapping):
            raise Invalid(f"{place} must be an object", field=place)
        if source.get("type") == "text":
            self._add(_text(source, "data", place))
        elif source.get("type") == "content":
            yield from self._inner(source.get("content"), f"{place}.content")
        else:
            raise Invalid(f"{place} must be text: models here read no files", field=place)

    def _call(self, block: Mapping[str, Any], where: str) -> None:
        call_id, name = _text(block, "id", where), _text(block, "name", where)
        arguments = block.get("input") or {}
        if not isinstance(arguments, Mapping):
            raise Invalid(f"{where}.input must be an object", field=f"{where}.input")
        self._names[call_id] = name
        function = {"name": name, "arguments": dict(arguments)}
        self.calls.append({"id": call_id, "function": function})

    def _result(self, block: Mapping[str, Any], where: str) -> Iterator[None]:
        call_id, content = _text(block, "tool_use_id", where), block.get("content")
        inner = _Blocks({}, self._depth + 1)
        yield from inner.take_all([] if content is None else content, f"{where}.content")
        text = BETWEEN.join(inner.texts)
        if not text and block.get("is_error"):
            text = "error"
        result = {"role": "tool", "content": text, "tool_call_id": call_id}
        name = self._names.get(call_id)
        self.results.append({**result, "tool_name": name} if name else result)
        self.images += inner.images


def _text(block: Mapping[str, Any], name: str, where: str) -> str:
    value = block.get(name)
    if not isinstance(value, str):
        raise Invalid(f"{where}.{name} must be a string", field=f"{where}.{name}")
    return value


def _image(source: Any, where: str) -> str:
    """The image as base64. The server recognises its format by its first bytes."""
    if not isinstance(source, Mapping) or source.get("type") != "base64":
        raise Invalid(f"{where} must be base64: the queue fetches no images", field=where)
    if source.get("media_type") not in _PICTURES:
        field = f"{where}.media_type"
        raise Invalid(f"{field} must be one of {', '.join(_PICTURES)}", field=field)
    data = _text(source, "data", where)
    if not data or ":" in data[:16]:
        raise Invalid(f"{where}.data must be base64", field=f"{where}.data")
    return data
