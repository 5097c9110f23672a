"""Models over all model servers, in Ollama's words: lists, one by name, loaded and unloaded."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from ollama_queue import __version__
from ollama_queue.actors.core import limits
from ollama_queue.actors.core.errors import Invalid, NotFound, Unavailable
from ollama_queue.actors.core.figures import BackendState
from ollama_queue.actors.core.holders import best_first, holders, names_of, oldest_version, ollamas
from ollama_queue.actors.core.outcomes import Failed, Reply
from ollama_queue.actors.core.routing import model_name
from ollama_queue.http import wire
from ollama_queue.http.servers import Servers

Json = dict[str, Any]

UNTIMED = "0001-01-01T00:00:00Z"  # how Ollama writes a time that it does not know
_ZERO = re.compile(r"[+-]?0+(\.0*)?(ns|us|µs|ms|s|m|h)?")
_LISTS = msgspec.json.Decoder(dict[str, list[Json] | None])


# --- lists --------------------------------------------------------------------------------------


def tags(queue: Servers) -> Json:
    """The models that tasks may name. Of one that no Ollama has, little more than the name."""
    told = _lists(queue, wire.TAGS)
    backends = queue.list_backends()
    if any(_knows_less(each, told.get(each.name, ())) for each in backends):
        queue.survey_backends()  # one came since the last look, or the settings leave it out
        backends = queue.list_backends()
    found: dict[str, Json] = {}
    for each in backends:
        entries, wanted = told.get(each.name, ()), names_of(each.models or ())
        if each.healthy and each.type != "ollama":
            entries = [_bare(name) for name in each.models or ()]
        for entry in entries:
            name = model_name(entry["name"])
            if each.models is None or name in wanted:
                found.setdefault(name, entry)
    return {"models": list(found.values())}


def loaded(queue: Servers) -> Json:
    """The models in memory, each once."""
    told = _lists(queue, wire.PS)
    found: dict[str, Json] = {}
    for each in queue.list_backends():
        for entry in told.get(each.name, ()):
            found.setdefault(model_name(entry["name"]), entry)
    return {"models": list(found.values())}


def version(queue: Servers) -> Json:
    """What clients may count on: the oldest Ollama's; where there is none, the queue's own."""
    return {"version": oldest_version(queue.list_backends()) or __version__}


def _lists(queue: Servers, path: str) -> dict[str, list[Json]]:
    """What each Ollama lists there, by backend; those that give no list are left out."""
    names = [each.name for each in ollamas(queue.list_backends())]
    found = {}
    for name, reply in queue.consult_backends(names, path).items():
        if isinstance(reply, bytes):
            try:
                entries = _LISTS.decode(reply).get("models") or ()
            except msgspec.DecodeError:
                continue
            found[name] = [each for each in entries if isinstance(each.get("name"), str)]
    return found


def _knows_less(backend: BackendState, entries: Iterable[Json]) -> bool:
    """The plan does not know all of what a server has just listed."""
    if backend.models is None:
        return False
    known = names_of(backend.models)
    return any(model_name(each["name"]) not in known for each in entries)


def _bare(name: str) -> Json:
    details = {"parent_model": "", "format": "", "family": "", "families": None}
    details |= {"parameter_size": "", "quantization_level": ""}
    entry = {"name": name, "model": name, "modified_at": UNTIMED, "size": 0, "digest": ""}
    return {**entry, "details": details}


# --- one model ----------------------------------------------------------------------------------


def find(queue: Servers, model: str) -> list[BackendState]:
    """The servers that have a model. On a miss all are asked once more; then it is `NotFound`."""
    found = holders(queue.list_backends(), model)
    if not found:
        queue.survey_backends()
        found = holders(queue.list_backends(), model)
    if not found:
        raise NotFound(f"model {model!r} not found", field="model")
    return found


def show(queue: Servers, body: Json) -> Any:
    """What an Ollama that has the model says of it."""
    model = model_in({"model": body.get("model") or body.get("name")})
    having = find(queue, model)
    if not any(each.type == "ollama" for each in having):
        texts = {"license": "", "modelfile": "", "parameters": "", "template": ""}
        details = _bare(model)["details"]
        return {**texts, "details": details, "model_info": {}, "capabilities": ["completion"]}
    reply: Reply | None = None
    for each in best_first(ollamas(having), model):
        reply = queue.consult_backends([each.name], wire.SHOW, body)[each.name]
        if isinstance(reply, bytes):
            return msgspec.Raw(reply)
    raise _refused(model, reply)


def load(queue: Servers, path: str, body: Json) -> Any:
    """Have a model loaded where it would run, or (`keep_alive: 0`) unloaded wherever it is.

    Servers that are not Ollama's have their models without being asked: nothing is done there.
    """
    model = model_in(body)
    unloads = path in (wire.CHAT, wire.GENERATE) and _is_zero(body.get("keep_alive"))
    if unloads:
        queue.survey_backends()  # who has it in memory?
    having = find(queue, model)
    chosen = best_first(ollamas(having), model)
    if unloads:
        name = model_name(model)
        groups = [[each.name for each in chosen if name in names_of(each.loaded)]]
    else:
        groups = [[each.name] for each in chosen]
    if not any(groups) and (unloads or not any(each.type == "ollama" for each in having)):
        return _nothing_done(path, model, "unload" if unloads else "load")
    reply: Reply | None = None
    for names in groups:
        for reply in queue.load_on_backends(names, path, {**body, "stream": False}).values():
            if isinstance(reply, bytes):
                return msgspec.Raw(reply)
    raise _refused(model, reply)


def model_in(body: Json) -> str:
    """The model that a request names. Raises `Invalid`."""
    model = body.get("model")
    if not isinstance(model, str) or not model.strip():
        raise Invalid("model is required: name a model, such as qwen3", field="model")
    limits.check_text(model, "model")
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
    said: Json = {"response": ""}
    if path == wire.CHAT:
        said = {"message": {"role": "assistant", "content": ""}}
    now = datetime.now(UTC)
    return {"model": model, "created_at": now, **said, "done": True, "done_reason": reason}


def _refused(model: str, reply: Reply | None) -> Exception:
    if isinstance(reply, Failed):
        return wire.TaskFailed(reply.error, wire.passed_on(reply.status))
    return Unavailable(f"no server that has model {model!r} is well", retry_after_s=1)
