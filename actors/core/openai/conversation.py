"""Translates messages to OpenAI's form, with their images, tool calls and tool results."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

# As in Ollama's own requests, an empty field counts as absent.
ABSENT: tuple[Any, ...] = (None, "", [], {})
_IMAGES = {"iVBORw0KGgo": "png", "/9j/": "jpeg", "R0lGOD": "gif", "UklGR": "webp"}


class Untranslatable(ValueError):
    """A field without a counterpart. `field` is its name as users write it: `options.num_ctx`."""

    def __init__(self, field: str, why: str = "") -> None:
        super().__init__(f"{field} cannot be sent to an OpenAI-compatible server{why}")
        self.field = field


def refuse(left: Mapping[str, Any], prefix: str) -> None:
    """Raise `Untranslatable` for a field that is left untranslated."""
    for name in left:
        raise Untranslatable(f"{prefix}{name}")


class Conversation:
    """Translates one task's messages. Its methods remove from `fields` what they translate."""

    def __init__(self) -> None:
        self._open: list[tuple[str, str]] = []  # id and name of calls without a result so far
        self._numbers: Iterator[int] = itertools.count()

    def of_prompt(self, fields: dict[str, Any]) -> list[dict[str, Any]]:
        content = self._content(fields.pop("prompt", ""), fields.pop("images", []), "images")
        return [*_system(fields), {"role": "user", "content": content}]

    def of_messages(self, fields: dict[str, Any]) -> list[dict[str, Any]]:
        numbered = enumerate(fields.pop("messages", []))
        translated = [self._message(message, f"messages[{index}]") for index, message in numbered]
        return [*_system(fields), *translated]

    def _message(self, message: Mapping[str, Any], where: str) -> dict[str, Any]:
        left = {name: value for name, value in message.items() if value not in ABSENT}
        role = left.pop("role", "")
        content = self._content(left.pop("content", ""), left.pop("images", []), f"{where}.images")
        translated = {"role": role, "content": content}
        if "name" in left:
            translated["name"] = left.pop("name")
        if "thinking" in left:
            translated["reasoning_content"] = left.pop("thinking")
        if "tool_calls" in left:
            translated["tool_calls"] = self._made(left.pop("tool_calls"), f"{where}.tool_calls")
        if role == "tool":
            call_id, name = left.pop("tool_call_id", None), left.pop("tool_name", None)
            translated["tool_call_id"] = self._answered(call_id, name, where)
        refuse(left, f"{where}.")
        return translated

    def _content(self, text: Any, images: Any, where: str) -> Any:
        if not images:
            return text
        if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
            raise Untranslatable(where, ": they must be a list of base64 texts")
        for index, image in enumerate(images):
            if not image or (":" in image[:16] and not image.startswith("data:")):
                raise Untranslatable(
                    f"{where}[{index}]", ": it must be base64 text, not an address"
                )
        parts = [{"type": "text", "text": text}] if text else []
        shown = ({"type": "image_url", "image_url": {"url": self._url(i)}} for i in images)
        return [*parts, *shown]

    def _made(self, calls: Any, where: str) -> list[dict[str, Any]]:
        if not isinstance(calls, list):
            raise Untranslatable(where, ": it must be a list")
        return [self._call(call, f"{where}[{index}]") for index, call in enumerate(calls)]

    def _call(self, call: Any, where: str) -> dict[str, Any]:
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise Untranslatable(where, ": it must be an object with a function and its name")
        name, arguments = function["name"], function.get("arguments") or {}
        number = next(self._numbers)
        call_id = str(call.get("id") or f"call_{number}")
        self._open.append((call_id, name))
        text = arguments if isinstance(arguments, str) else self._json(arguments)
        return {"id": call_id, "type": "function", "function": {"name": name, "arguments": text}}

    def _answered(self, call_id: Any, name: Any, where: str) -> str:
        """The id of the call that a result belongs to: `call_id`, or the first call that fits."""
        for known in self._open:
            if known[0] == call_id or (not call_id and name in (None, "", known[1])):
                self._open.remove(known)
                return known[0]
        if call_id:
            return str(call_id)
        raise Untranslatable(where, ": it is the result of a tool call, and none is before it")

    def _url(self, image: str) -> str:
        if image.startswith("data:"):
            return image
        kinds = (kind for start, kind in _IMAGES.items() if image.startswith(start))
        return f"data:image/{next(kinds, 'png')};base64,{image}"

    def _json(self, value: Any) -> str:
        return msgspec.json.encode(value).decode()


class Outline(Conversation):
    """A conversation that is only checked: large content is left empty."""

    def _url(self, image: str) -> str:
        return ""

    def _json(self, value: Any) -> str:
        return ""


def _system(fields: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "system", "content": fields.pop("system")}] if "system" in fields else []
