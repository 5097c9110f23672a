"""A request to `/v1/messages` as a chat task, in Ollama's dialect."""

import math
import re
from collections.abc import Generator, Mapping
from typing import Any

import msgspec

from ..model import limits
from ..model.errors import Invalid
from ..model.ids import digest
from ..model.tasks import TaskType
from ..openai.efforts import EFFORTS
from .conversation import BETWEEN, messages_of, role_of, text_of

_MOST = (1 << 31) - 1  # tokens, and places in a ranking
_SESSION = re.compile(r"(user_\w{1,200}?)_account_[\w-]{0,99}_session_[\w-]{0,99}", re.ASCII)
_THINKING = ("enabled", "adaptive", "between_tools")


class ClaudeCodeUser(msgspec.Struct):
    """The `metadata.user_id` of Claude Code, which is JSON."""

    account_uuid: str = ""
    device_id: str = ""


_PARTS = msgspec.json.Decoder(ClaudeCodeUser)


def task_fields(body: Mapping[str, Any]) -> Generator[None, None, dict[str, Any]]:
    """The `type`, `model`, `payload` and `options` of the task, with a pause after each block.
    Raises `Invalid`, naming the field.

    Fields that only matter to Anthropic (`metadata`, `service_tier`, `cache_control`, …) are left
    out, as are those that are not known.
    """
    options = {"num_predict": _limit(body), **_options(body)}
    payload = yield from prompt_of(body)
    model = {"model": body["model"]} if "model" in body else {}
    return {"type": TaskType.CHAT, **model, "payload": payload, "options": options}


def prompt_of(body: Mapping[str, Any]) -> Generator[None, None, dict[str, Any]]:
    """The payload of the task: all that the model reads. Raises `Invalid`, naming the field."""
    payload: dict[str, Any] = {}
    if body.get("mcp_servers"):
        raise Invalid("mcp_servers: the queue calls no servers of tools", field="mcp_servers")
    messages, first, system = body.get("messages"), 0, []
    if not isinstance(messages, list) or not messages:
        raise Invalid("messages must be a list of at least one message", field="messages")
    if body.get("system") is not None:
        system.append((yield from text_of(body["system"], "system")))
    while first < len(messages) and role_of(messages[first], first) == "system":
        content = messages[first].get("content")
        system.append((yield from text_of(content, f"messages[{first}].content")))
        first += 1
    if text := BETWEEN.join(filter(None, system)):
        payload["system"] = text
    payload["messages"] = yield from messages_of(messages, first)
    tools = yield from _tools(body)
    return {**payload, **tools, **_thinking(body), **_format(body)}


def tenant_of(body: Mapping[str, Any]) -> str | None:
    """The tenant that `metadata.user_id` names; a digest of it if it is long. Raises `Invalid`.

    Claude Code appends the session to the user, who is one tenant all the same.
    """
    metadata = _object(body, "metadata")
    user = metadata.get("user_id")
    if user is not None and not isinstance(user, str):
        raise Invalid("metadata.user_id must be a string", field="metadata.user_id")
    if not user or not user.strip():
        return None
    user = _account(user) or user
    if len(user) <= limits.NAME:
        return user
    return f"user-{digest(user.encode('utf-8', 'surrogatepass')).hex()}"


def _account(user: str) -> str | None:
    """The user in what Claude Code sends: `user_X_account_Y_session_Z`, or the same as JSON."""
    if match := _SESSION.fullmatch(user):
        return match[1]
    if not user.startswith("{"):
        return None
    try:
        parts = _PARTS.decode(user)
    except (msgspec.DecodeError, UnicodeError):
        return None
    return parts.account_uuid or parts.device_id or None


# --- fields -------------------------------------------------------------------------------------


def _limit(body: Mapping[str, Any]) -> int:
    limit = _whole(body, "max_tokens", 1)
    if limit is None:
        raise Invalid("max_tokens is required: say how long the reply may be", field="max_tokens")
    return limit


def _options(body: Mapping[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {
        "temperature": _number(body, "temperature"),
        "top_p": _number(body, "top_p"),
        "top_k": _whole(body, "top_k", 0),
        "stop": _texts(body, "stop_sequences"),
    }
    return {name: value for name, value in options.items() if value is not None}


def _tools(body: Mapping[str, Any]) -> Generator[None, None, dict[str, Any]]:
    """The tools that the model may call, and whether it has to call one."""
    tools, functions = body.get("tools") or [], []
    if not isinstance(tools, list):
        raise Invalid("tools must be a list", field="tools")
    for index, tool in enumerate(tools):
        functions.append(_tool(tool, f"tools[{index}]"))
        yield
    choice = _object(body, "tool_choice")
    kind = choice.get("type", "auto")
    if kind == "none" or (kind == "auto" and not functions):
        return {}
    if kind == "auto":
        return {"tools": functions}
    if kind == "tool":
        # One tool that must be called: unlike a name, every server understands that.
        functions = [each for each in functions if each["function"]["name"] == choice.get("name")]
        if not functions:
            raise Invalid("tool_choice.name must name one of tools", field="tool_choice.name")
    elif kind != "any":
        raise Invalid("tool_choice.type must be auto, any, tool or none", field="tool_choice.type")
    if not functions:
        raise Invalid("tool_choice needs tools", field="tool_choice")
    return {"tools": functions, "tool_choice": "required"}


def _tool(tool: Any, where: str) -> dict[str, Any]:
    if not isinstance(tool, Mapping):
        raise Invalid(f"{where} must be an object", field=where)
    kind = tool.get("type")
    if kind not in (None, "custom"):
        raise Invalid(
            f"{where}.type: {str(kind)[:100]} is a tool of Anthropic's own; "
            "only tools with a name and an input_schema can be used here",
            field=f"{where}.type",
        )
    name, schema = tool.get("name"), tool.get("input_schema")
    description = tool.get("description")
    if not isinstance(name, str) or not name:
        raise Invalid(f"{where}.name must be a string", field=f"{where}.name")
    if not isinstance(schema, Mapping):
        raise Invalid(f"{where}.input_schema must be an object", field=f"{where}.input_schema")
    if description is not None and not isinstance(description, str):
        raise Invalid(f"{where}.description must be a string", field=f"{where}.description")
    about = {"description": description} if description else {}
    return {"type": "function", "function": {"name": name, **about, "parameters": dict(schema)}}


def _thinking(body: Mapping[str, Any]) -> dict[str, Any]:
    """Whether and how much to think. Without a word about it, the model does not.

    What is asked for is a wish: Anthropic's clients do not know what a model here is able to do.
    """
    effort = _object(body, "output_config").get("effort")
    if effort is not None and (not isinstance(effort, str) or effort not in EFFORTS):
        raise Invalid(
            "output_config.effort must be low, medium, high, xhigh or max",
            field="output_config.effort",
        )
    level = EFFORTS[effort] if effort is not None else None
    kind = _object(body, "thinking").get("type")
    if kind not in (None, "disabled", *_THINKING):
        raise Invalid("thinking.type must be enabled, adaptive or disabled", field="thinking.type")
    if kind is None and level is None:
        return {"think": False}
    if kind == "disabled" or level is False:
        return {"think": False}
    return {"prefer_think": True if level is None else level}


def _format(body: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema that the reply must follow."""
    wanted = _object(body, "output_config").get("format")
    if wanted is None:
        return {}
    schema = wanted.get("schema") if isinstance(wanted, Mapping) else None
    if not isinstance(schema, Mapping) or wanted.get("type") != "json_schema":
        raise Invalid(
            "output_config.format must be a json_schema with its schema",
            field="output_config.format",
        )
    return {"format": dict(schema)}


# --- values -------------------------------------------------------------------------------------


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Invalid(f"{name} must be an object", field=name)
    return value


def _whole(body: Mapping[str, Any], name: str, least: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MOST:
        raise Invalid(f"{name} must be a whole number from {least} to {_MOST}", field=name)
    return value


def _number(body: Mapping[str, Any], name: str) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_small(value):
        raise Invalid(f"{name} must be a number", field=name)
    return value


def _is_small(value: float) -> bool:
    """Whether every server can read it: no infinity, and no integer beyond a float's range."""
    return -1e9 <= value <= 1e9 and math.isfinite(value)


def _texts(body: Mapping[str, Any], name: str) -> list[str] | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise Invalid(f"{name} must be a list of strings", field=name)
    return value or None
