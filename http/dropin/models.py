"""Ollama's model routes over all model servers: list, show, load and unload."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec

from ollama_queue import __version__

from ...actors.core.model import limits
from ...actors.core.model.access_keys import Role
from ...actors.core.model.errors import Invalid, Unavailable, unknown_model
from ...actors.core.model.model_names import model_name
from ...actors.core.model.outcomes import BackendReply, Failed
from ...actors.core.model.stats import BackendState
from ...actors.core.routing.model_holders import (
    best_first,
    holders,
    names_of,
    oldest_version,
    ollamas,
)
from ...actors.executors.http_executor import count_in
from .. import wire
from ..requests.exchange import current
from ..wire import Json
from .queue_protocol import DropinQueue

UNTIMED = "0001-01-01T00:00:00Z"  # how Ollama writes an unknown time
_DETAILS: Json = {
    "parent_model": "",
    "format": "",
    "family": "",
    "families": None,
    "parameter_size": "",
    "quantization_level": "",
}
_ZERO = re.compile(r"[+-]?0+(\.0*)?(ns|us|µs|ms|s|m|h)?")
_LISTS = msgspec.json.Decoder(dict[str, list[Json] | None])


# --- lists --------------------------------------------------------------------------------------


def tags(queue: DropinQueue) -> Json:
    """The models that tasks can use. Those that no Ollama has come with little but a name."""
    lists = _lists(queue, wire.TAGS)
    backends = queue.list_backends()
    if any(_knows_less(each, lists.get(each.name, ())) for each in backends):
        queue.probe_backends()  # a model is newer than the last probe, or the settings omit it
        backends = queue.list_backends()
    models: dict[str, Json] = {}
    for each in backends:
        entries, names = lists.get(each.name, ()), names_of(each.models or ())
        if each.healthy and each.type != "ollama":
            entries = [_bare(each.name, name) for name in each.models or ()]
        for entry in entries:
            name = model_name(entry["name"])
            if each.models is None or name in names:
                models.setdefault(name, entry)
    return {"models": list(models.values())}


def loaded(queue: DropinQueue) -> Json:
    """The models in memory, without duplicates."""
    lists = _lists(queue, wire.PS)
    models: dict[str, Json] = {}
    for each in queue.list_backends():
        for entry in lists.get(each.name, ()):
            models.setdefault(model_name(entry["name"]), entry)
    return {"models": list(models.values())}


def version(queue: DropinQueue) -> Json:
    """The oldest Ollama's version, which clients can rely on; the queue's own without an Ollama."""
    return {"version": oldest_version(queue.list_backends()) or __version__}


def _lists(queue: DropinQueue, path: str) -> dict[str, list[Json]]:
    """The list at `path` of each Ollama, by backend name; failing ones are left out."""
    names = [each.name for each in ollamas(queue.list_backends())]
    lists = {}
    for name, reply in queue.call_backends(names, path).items():
        if isinstance(reply, bytes):
            try:
                entries = _LISTS.decode(reply).get("models") or ()
            except msgspec.DecodeError:
                continue
            lists[name] = [
                each
                for each in entries
                if isinstance(each.get("name"), str) and queue.may_use_model(each["name"])
            ]
    return lists


def _knows_less(backend: BackendState, entries: Iterable[Json]) -> bool:
    """Whether the server just listed a model that the plan does not know."""
    if backend.models is None:
        return False
    known = names_of(backend.models)
    return any(model_name(each["name"]) not in known for each in entries)


def _bare(backend: str, name: str) -> Json:
    """The entry of a model that no Ollama has. Ollama's command line expects a digest of 64 digits:
    this one is a stable hash of server and name."""
    digest = sha256(f"{backend}/{name}".encode()).hexdigest()
    entry = {"name": name, "model": name, "modified_at": UNTIMED, "size": 0, "digest": digest}
    return {**entry, "details": _DETAILS}


# --- one model ----------------------------------------------------------------------------------


def find(queue: DropinQueue, model: str) -> list[BackendState]:
    """The servers that have a model. A miss probes all servers once; then raises `NotFound`."""
    backends = holders(queue.list_backends(), model)
    if not backends:
        queue.probe_backends()
        backends = holders(queue.list_backends(), model)
    if not backends:
        raise unknown_model(model)
    return backends


def show(queue: DropinQueue, body: Json) -> Any:
    """The reply to `/api/show` of an Ollama that has the model."""
    model = model_in(body, "model", "name")
    having = find(queue, model)
    if not any(each.type == "ollama" for each in having):
        return _shown(queue, having, model)
    reply: BackendReply | None = None
    for each in best_first(ollamas(having), model):
        reply = queue.call_backends([each.name], wire.SHOW, body)[each.name]
        if isinstance(reply, bytes):
            return msgspec.Raw(reply)
    raise _refused(model, reply)


def _shown(queue: DropinQueue, having: list[BackendState], model: str) -> Json:
    """The answer to `show` for a model that no Ollama has, with what Ollama's command line reads.

    It requires every number, so unknown ones are 0. llama.cpp's server gives them all in its list
    of models.
    """
    name = model_name(model)
    replies = queue.call_backends([each.name for each in having if each.healthy], "/models")
    listed = (entry for reply in replies.values() for entry in _entries(reply))
    entry = next((each for each in listed if model_name(each["id"]) == name), {})
    known = entry.get("meta")
    info = {
        "general.parameter_count": count_in(known, "n_params"),
        "unknown.context_length": count_in(known, "n_ctx_train"),
        "unknown.embedding_length": count_in(known, "n_embd"),
    }
    return {
        "license": "",
        "modelfile": f"FROM {model}",
        "parameters": "",
        "template": "",
        "details": _DETAILS,
        "model_info": {"general.architecture": "unknown", **info},
        "capabilities": ["completion"],
        "modified_at": UNTIMED,
    }


def _entries(reply: BackendReply) -> list[Json]:
    """The models in an OpenAI-compatible server's list; empty if the reply is not a list."""
    try:
        body = msgspec.json.decode(reply) if isinstance(reply, bytes) else None
    except (msgspec.DecodeError, RecursionError):
        return []
    entries = body.get("data") if isinstance(body, dict) else body
    if not isinstance(entries, list):
        return []
    return [each for each in entries if isinstance(each, dict) and isinstance(each.get("id"), str)]


def load(queue: DropinQueue, path: str, body: Json) -> Any:
    """Load a model where its tasks would run, or (`keep_alive: 0`) unload it everywhere.

    Does nothing on servers other than Ollama, which manage their models themselves.
    """
    model = model_in(body)
    unloads = path in (wire.CHAT, wire.GENERATE) and _is_zero(body.get("keep_alive"))
    if unloads:
        current().caller.check_role(Role.ADMIN)  # others may be using it
        queue.probe_backends()  # to learn which servers have it in memory
    having = find(queue, model)
    chosen = best_first(ollamas(having), model)
    if unloads:
        name = model_name(model)
        groups = [[each.name for each in chosen if name in names_of(each.loaded)]]
    else:
        groups = [[each.name] for each in chosen]
    if not any(groups) and (unloads or not any(each.type == "ollama" for each in having)):
        return _nothing_done(path, model, "unload" if unloads else "load")
    reply: BackendReply | None = None
    for names in groups:
        for reply in queue.load_on_backends(names, path, {**body, "stream": False}).values():
            if isinstance(reply, bytes):
                return msgspec.Raw(reply)
    raise _refused(model, reply)


def model_in(body: Json, field: str = "model", older: str = "") -> str:
    """The model that a request names in a field, or in that of `older` clients. Raises `Invalid` if
    missing or malformed."""
    model = body.get(field) or body.get(older)
    if not isinstance(model, str) or not model.strip():
        raise Invalid(f"{field} is required: name a model, such as qwen3", field=field)
    limits.check_text(model, field)
    return model


def _is_zero(keep_alive: Any) -> bool:
    if isinstance(keep_alive, str):
        return _ZERO.fullmatch(keep_alive.strip()) is not None
    return keep_alive is not None and keep_alive == 0


def _nothing_done(path: str, model: str, reason: str) -> Json:
    if path == wire.EMBEDDINGS:
        return {"embedding": []}
    if path == wire.EMBED:
        return {"model": model, "embeddings": []}
    reply: Json = {"response": ""}
    if path == wire.CHAT:
        reply = {"message": {"role": "assistant", "content": ""}}
    now = datetime.now(UTC)
    return {"model": model, "created_at": now, **reply, "done": True, "done_reason": reason}


def _refused(model: str, reply: BackendReply | None) -> Exception:
    if isinstance(reply, Failed):
        return wire.failure_upstream(reply.status, reply.upstream, reply.error)
    return Unavailable(f"no healthy server has model {model!r}", retry_after_s=1)
