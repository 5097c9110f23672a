"""The text of a reply, or of a chunk of one, in the dialect of its task."""

from typing import Any


def words(reply: Any) -> str:
    """The text; if there is none, the tool calls or the number of vectors."""
    if not isinstance(reply, dict):
        return ""
    vectors = _vectors(reply)
    if vectors is not None:
        length = _length(vectors[0]) if vectors else 0
        return f"{len(vectors)} vector{'' if len(vectors) == 1 else 's'} of {length} numbers"
    if str(reply.get("type", "")).startswith("response."):  # an event
        return str(reply["delta"]) if reply["type"] == "response.output_text.delta" else ""
    if isinstance(reply.get("output"), list):
        return _of_response(reply["output"])
    choices = reply.get("choices")
    if isinstance(choices, list):
        reply = next(iter(choices), None) or {}
    message = reply.get("message") or reply.get("delta") or {}
    text = str(message.get("content") or reply.get("response") or reply.get("text") or "")
    if not text and message.get("tool_calls"):
        import msgspec

        return msgspec.json.encode(message["tool_calls"]).decode()
    return text


def _of_response(items: list[dict[str, Any]]) -> str:
    parts = [part for item in items for part in item.get("content") or ()]
    text = "".join(str(part.get("text") or "") for part in parts)
    calls = [item for item in items if item["type"].endswith("_call")]
    if not text and calls:
        import msgspec

        return msgspec.json.encode(calls).decode()
    return text


def _vectors(reply: dict[str, Any]) -> list[Any] | None:
    if isinstance(reply.get("embeddings"), list):
        return list(reply["embeddings"])
    if isinstance(reply.get("data"), list):
        return [each.get("embedding") or () for each in reply["data"]]
    return None


def _length(vector: Any) -> int:
    """The length of a vector; OpenAI's client asks for base64 of its floats."""
    if isinstance(vector, str):
        return (len(vector) * 3 // 4 - vector.count("=")) // 4
    return len(vector)
