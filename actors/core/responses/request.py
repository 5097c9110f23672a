"""Translates a request for a response to the chat completion that answers it.

Every model server has chat completions; so a task gives the same response whichever runs it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from ..model.errors import Invalid
from ..openai.efforts import EFFORTS
from ..openai.translation import SAME_OPTIONS
from .items import function_name, messages_of

# Answers depend on what the server would have kept of earlier ones: a local server keeps nothing.
_STATEFUL = ("previous_response_id", "conversation", "prompt")
_TRUNCATIONS = ("auto", "disabled")
_CHOICES = ("none", "auto", "required")
PAIRS, KEY, VALUE = 16, 64, 512  # of metadata: how many, and characters of each
TOP_LOGPROBS = 20
# Passed on under their own names.
_SAME = (*SAME_OPTIONS, "user", "service_tier", "parallel_tool_calls")


def chat_request(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The body of the chat completion, without `model` and `stream`.

    `payload` is the request, without these two. Raises `Invalid`, naming the field.
    """
    fields = {name: value for name, value in payload.items() if value is not None}
    _check(fields)
    body: dict[str, Any] = {"messages": messages_of(fields.get("instructions"), fields["input"])}
    body |= {name: fields[name] for name in _SAME if name in fields}
    if "max_output_tokens" in fields:
        body["max_tokens"] = fields["max_output_tokens"]
    body |= _logprobs(fields)
    body |= _text(_object(fields, "text"))
    body |= _reasoning(_object(fields, "reasoning"))
    return body | _tools(fields)


def _check(fields: dict[str, Any]) -> None:
    """Check the fields that are read in one place only, here or in a response."""
    for name in _STATEFUL:
        if name in fields:
            raise Invalid(
                f"{name} is not supported: send the whole conversation as input", field=name
            )
    if "input" not in fields:
        raise Invalid("input is missing: send a text, or a list of items", field="input")
    for name in ("instructions", "user", "safety_identifier", "prompt_cache_key", "service_tier"):
        _text_in(fields, name)
    for name in ("background", "store", "parallel_tool_calls"):
        if not isinstance(fields.get(name, False), bool):
            raise Invalid(f"{name} must be true or false", field=name)
    if fields.get("background") and fields.get("store") is False:
        raise Invalid("store must not be false for a response in the background", field="store")
    for name in ("temperature", "top_p"):
        value = fields.get(name, 1)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise Invalid(f"{name} must be a number", field=name)
    for name in ("max_output_tokens", "max_tool_calls"):
        _whole(fields, name, 1, None)
    _whole(fields, "top_logprobs", 0, TOP_LOGPROBS)
    if fields.get("truncation", "auto") not in _TRUNCATIONS:
        raise Invalid("truncation must be auto or disabled", field="truncation")
    _check_metadata(_object(fields, "metadata"))


def _check_metadata(metadata: dict[str, Any]) -> None:
    if len(metadata) > PAIRS:
        raise Invalid(f"metadata must be at most {PAIRS} pairs", field="metadata")
    for key, value in metadata.items():
        if len(key) > KEY or not isinstance(value, str) or len(value) > VALUE:
            raise Invalid(
                f"metadata must be strings: keys of at most {KEY} characters, values of {VALUE}",
                field="metadata",
            )


def _logprobs(fields: dict[str, Any]) -> dict[str, Any]:
    include = fields.get("include", [])
    if not isinstance(include, list) or not all(isinstance(name, str) for name in include):
        raise Invalid("include must be a list of strings", field="include")
    count = fields.get("top_logprobs", 0)
    if count:
        return {"logprobs": True, "top_logprobs": count}
    return {"logprobs": True} if "message.output_text.logprobs" in include else {}


def _text(text: dict[str, Any]) -> dict[str, Any]:
    verbosity = _text_in(text, "verbosity", "text.verbosity")
    body = {} if verbosity is None else {"verbosity": verbosity}
    form = _object(text, "format", "text.format")
    kind = form.get("type", "text")
    if kind == "text":
        return body
    if kind == "json_object":
        return body | {"response_format": {"type": "json_object"}}
    if kind != "json_schema":
        raise Invalid(
            "text.format.type must be text, json_schema or json_object", field="text.format.type"
        )
    if not isinstance(form.get("schema"), dict):
        raise Invalid("text.format.schema must be an object", field="text.format.schema")
    schema = {name: value for name, value in form.items() if name != "type" and value is not None}
    if not isinstance(schema.setdefault("name", "reply"), str):
        raise Invalid("text.format.name must be a string", field="text.format.name")
    return body | {"response_format": {"type": "json_schema", "json_schema": schema}}


def _reasoning(reasoning: dict[str, Any]) -> dict[str, Any]:
    effort = reasoning.get("effort")
    if effort is None:
        return {}
    if not isinstance(effort, str) or effort not in EFFORTS:
        known = ", ".join(EFFORTS)
        raise Invalid(f"reasoning.effort must be one of {known}", field="reasoning.effort")
    # Ollama takes both for the same, and its older versions know only the other.
    return {"reasoning_effort": "low" if effort == "minimal" else effort}


def _tools(fields: dict[str, Any]) -> dict[str, Any]:
    tools = fields.get("tools", [])
    if not isinstance(tools, list):
        raise Invalid("tools must be a list", field="tools")
    body: dict[str, Any] = {"tools": list(_functions(tools, "tools"))}
    choice = fields.get("tool_choice", "auto")
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        names = [_named(tool) for tool in _allowed(choice)]
        body["tools"] = [tool for tool in body["tools"] if tool["function"]["name"] in names]
        choice = choice.get("mode", "auto")
    if not body["tools"]:
        del body["tools"]
    if isinstance(choice, dict):
        kind = choice.get("type")
        if kind not in ("function", "custom") or not isinstance(choice.get("name"), str):
            raise Invalid(
                "tool_choice must be none, auto, required, or name a function: other tools are "
                "not supported",
                field="tool_choice",
            )
        body["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
    elif choice not in _CHOICES:
        raise Invalid("tool_choice must be none, auto, required or an object", field="tool_choice")
    elif "tool_choice" in fields:
        body["tool_choice"] = choice
    return body


def _tool(tool: Any, place: str) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise Invalid(f"{place} must be an object", field=place)
    kind = tool.get("type")
    if kind not in ("function", "custom"):
        name = kind if isinstance(kind, str) else "without a type"
        raise Invalid(
            f"{place} is {name}: only tools that the client runs are supported, of type function "
            "or custom",
            field=f"{place}.type",
        )
    if not isinstance(tool.get("name"), str) or not tool["name"]:
        raise Invalid(f"{place}.name must be a string", field=f"{place}.name")
    if not isinstance(tool.get("parameters") or {}, dict):
        raise Invalid(f"{place}.parameters must be an object", field=f"{place}.parameters")
    if kind == "custom":
        return {"type": "function", "function": _custom(tool)}
    names = ("name", "description", "parameters", "strict")
    function = {name: tool[name] for name in names if tool.get(name) is not None}
    return {"type": "function", "function": function}


class ClientTool(Struct, frozen=True):
    """A tool as the client knows it: in a namespace, or one that takes a text, not JSON."""

    name: str
    namespace: str = ""
    is_text: bool = False


def client_tools(tools: Any, namespace: str = "") -> dict[str, ClientTool]:
    """The tools of a checked request by the names of their functions, without plain functions."""
    named: dict[str, ClientTool] = {}
    for tool in tools or ():
        if tool["type"] == "namespace":
            named |= client_tools(tool["tools"], tool["name"])
        elif namespace or tool["type"] == "custom":
            known = ClientTool(tool["name"], namespace, tool["type"] == "custom")
            named[function_name(namespace, tool["name"])] = known
    return named


def _functions(tools: list[Any], place: str, namespace: str = "") -> Iterator[dict[str, Any]]:
    """The tools as functions of a chat, which has no namespaces."""
    for number, tool in enumerate(tools):
        where = f"{place}[{number}]"
        if isinstance(tool, dict) and tool.get("type") == "namespace" and not namespace:
            inner, name = tool.get("tools"), tool.get("name")
            if not isinstance(inner, list) or not isinstance(name, str) or not name:
                raise Invalid(f"{where} must have a name and a list of tools", field=where)
            yield from _functions(inner, f"{where}.tools", name)
        else:
            function = _tool(tool, where)
            function["function"]["name"] = function_name(namespace, tool["name"])
            yield function


def _custom(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool that takes a text, as a function of one text."""
    description, form = _text_in(tool, "description") or "", tool.get("format")
    if isinstance(form, dict) and isinstance(form.get("definition"), str):
        syntax = form.get("syntax", "")
        description += f"\n\nThe input follows this {syntax} grammar:\n{form['definition']}"
    parameters = {
        "type": "object",
        "properties": {"input": {"type": "string"}},
        "required": ["input"],
    }
    return {"name": tool["name"], "description": description.strip(), "parameters": parameters}


def _allowed(choice: dict[str, Any]) -> list[Any]:
    tools = choice.get("tools")
    if not isinstance(tools, list):
        raise Invalid("tool_choice.tools must be a list", field="tool_choice.tools")
    return tools


def _named(tool: Any) -> Any:
    name = tool.get("name") if isinstance(tool, dict) else None
    if not isinstance(name, str):
        raise Invalid("tool_choice.tools must name functions", field="tool_choice.tools")
    return name


def _object(fields: dict[str, Any], name: str, place: str = "") -> dict[str, Any]:
    value = fields.get(name)
    if value is not None and not isinstance(value, dict):
        raise Invalid(f"{place or name} must be an object", field=place or name)
    return value or {}


def _text_in(fields: dict[str, Any], name: str, place: str = "") -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise Invalid(f"{place or name} must be a string", field=place or name)
    return value


def _whole(fields: dict[str, Any], name: str, least: int, most: int | None) -> None:
    value = fields.get(name, least)
    is_right = isinstance(value, int) and not isinstance(value, bool) and value >= least
    if not is_right or (most is not None and value > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise Invalid(f"{name} must be a whole number {bounds}", field=name)
