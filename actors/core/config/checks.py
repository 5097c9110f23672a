"""The rules that the values of `Config` must follow, one line each."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..access.checks import rules_for
from ..access.keys import digest_of
from ..model.errors import Invalid, choose_from
from ..model.event_names import DELIVERED
from ..model.limits import NAME
from ..model.model_names import fallback_fault, model_name
from .urls import is_database_url, is_http_url, is_network, is_origin, without_path
from .webhook_values import signing_key

if TYPE_CHECKING:
    from .config import (
        AuthSettings,
        Backend,
        CallbackSettings,
        Config,
        Endpoint,
        ModelSettings,
        QueueSettings,
        RemoteScheduling,
        RetrySettings,
        SchedulerSettings,
        ServerSettings,
        Webhook,
    )

DAY_S = 86_400.0
MAX_S = 3650 * DAY_S  # more than calendars can represent
MAX_CALLS = 1024

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAME_WANTED = "1 to 64 letters, digits, dots, _ or -, the first a letter or digit"
_ORIGIN_WANTED = (
    "an origin, such as https://app.example.com or app://obsidian.md; * would let every site's "
    "pages in, and needs auth.keys"
)
_BASE_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
_BASE_PATH_WANTED = (
    "a path without a slash at its end, such as /queue, whose first part is no path of the server"
)
_OWN_PATHS = ("api", "v1", "static", "ws", "healthz", "readyz", "metrics")
_PROXY_WANTED = "an address or a network, such as 10.0.0.1 or 10.0.0.0/8"
_PATTERN_WANTED = "an origin, such as https://app.example.com or app://*, or * for all sites"
_HOST = re.compile(
    r"(\*\.)?[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*"
)
_HOST_WANTED = "a host without a port, such as queue.example.com or *.example.com"
_STORAGE_WANTED = (
    "a URL such as postgresql://user:password@host/db, with %40 for an @ in the password; "
    "a folder is queue.storage_path"
)
_FLEET_URL_WANTED = (
    "an http(s) URL at which the other servers reach this one, such as http://10.0.0.5:7125"
)
_ABOVE_0 = "a duration above 0, up to 3650d"
_FROM_0 = "a duration of 0 to 3650d"

MIN_KEY, MAX_KEY = 20, 512  # characters of an API key
_KEY_WANTED = f"{MIN_KEY} to {MAX_KEY} characters of ASCII without spaces"
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")
_SECRET_WANTED = "whsec_ and 24 to 64 bytes in base64"

Rule = tuple[bool, str, str]  # whether it holds, the key, what the value must be


def check(config: "Config") -> None:
    """Raise `Invalid`, naming the key, for the first rule that is broken."""
    for is_kept, key, rule in _rules(config):
        if not is_kept:
            raise Invalid(f"{key} must be {rule}", field=key)


def _rules(config: "Config") -> Iterator[Rule]:
    has_keys = config.auth.required or bool(config.auth.keys)
    yield from _server(config.server, has_keys=has_keys)
    yield is_http_url(config.ollama.host), "ollama.host", "an http(s) URL"
    timeout = config.ollama.timeout
    yield 0 < timeout <= DAY_S, "ollama.timeout", "a duration above 0, up to 1 day"
    for index, origin in enumerate(config.ollama.origins):
        yield "*" in origin or is_origin(origin), f"ollama.origins[{index}]", _PATTERN_WANTED
    for index, backend in enumerate(config.backends):
        yield from _backend(f"backends[{index}]", backend)
    yield from _models(config.models, [b.name for b in config.all_backends if b.type == "ollama"])
    yield from _queue(config.queue)
    yield from _fleet(config)
    yield from _scheduler(config.scheduler)
    yield from _retry(config.retry_config)
    yield from _remote(config.remote_scheduling)
    for index, webhook in enumerate(config.webhooks):
        yield from _webhook(f"webhooks[{index}]", webhook)
    names = [webhook.name for webhook in config.webhooks]
    for index, name in enumerate(names):
        yield name not in names[:index], f"webhooks[{index}].name", "a name that no other has"
    yield from _callbacks(config.callbacks)
    yield from _names(config)
    yield from _auth(config.auth)
    file = config.logging.file
    yield file is None or _is_path(file), "logging.file", "a file"


def _server(server: "ServerSettings", *, has_keys: bool) -> Iterator[Rule]:
    yield server.host != "", "server.host", "an address, such as 127.0.0.1"
    yield 0 <= server.port <= 65535, "server.port", "0 to 65535"
    yield server.max_body > 0, "server.max_body", "a size above 0"
    yield server.max_upload > 0, "server.max_upload", "a size above 0"
    yield server.max_file > 0, "server.max_file", "a size above 0"
    yield 0 <= server.shutdown_grace <= DAY_S, "server.shutdown_grace", "0 to 1 day"
    for name, file, other in (
        ("server.tls_cert", server.tls_cert, server.tls_key),
        ("server.tls_key", server.tls_key, server.tls_cert),
    ):
        yield file is not None or other is None, name, "a file, as its counterpart is given"
        yield file is None or _is_path(file), name, "a file"
    for index, origin in enumerate(server.cors_origins):
        fits = is_origin(origin) or (origin == "*" and has_keys)
        yield fits, f"server.cors_origins[{index}]", _ORIGIN_WANTED
    yield _is_base_path(server.base_path), "server.base_path", _BASE_PATH_WANTED
    for index, proxy in enumerate(server.trusted_proxies):
        yield is_network(proxy), f"server.trusted_proxies[{index}]", _PROXY_WANTED
    most = server.max_per_address
    yield most is None or most >= 1, "server.max_per_address", "1 or more, or null"
    for index, host in enumerate(server.allowed_hosts):
        is_host = _HOST.fullmatch(host) is not None
        yield is_host, f"server.allowed_hosts[{index}]", _HOST_WANTED


def _backend(where: str, it: "Backend") -> Iterator[Rule]:
    yield _NAME.fullmatch(it.name) is not None, f"{where}.name", _NAME_WANTED
    yield is_http_url(it.url), f"{where}.url", "an http(s) URL, such as http://gpu1:11434"
    yield _is_key(it.api_key), f"{where}.api_key", "one line of ASCII"
    parallel = it.parallel
    yield parallel is None or 1 <= parallel <= MAX_CALLS, f"{where}.parallel", "1 to 1024"
    for name, texts in (("tags", it.tags), ("models", it.models)):
        for index, text in enumerate(texts):
            yield text.strip() != "", f"{where}.{name}[{index}]", "a non-empty string"


def _models(models: "dict[str, ModelSettings]", ollamas: list[str]) -> Iterator[Rule]:
    seen: set[str] = set()
    wanted_to_keep = f"a backend of type ollama, or a list of such: {choose_from(ollamas)}"
    for name, settings in models.items():
        where, canonical = f"models.{name}", model_name(name)
        yield 0 < len(name.strip()) <= NAME, where, f"a model's name of 1 to {NAME} characters"
        yield canonical not in seen, where, "a model that is not named twice"
        seen.add(canonical)
        fault = fallback_fault(name, settings.fallback)
        if fault is not None:
            index, wanted = fault
            yield False, f"{where}.fallback" + ("" if index is None else f"[{index}]"), wanted
        after = settings.after
        yield after is None or 0 < after <= MAX_S, f"{where}.after", f"{_ABOVE_0}, or null"
        for backend in settings.keep:
            yield backend in ollamas, f"{where}.keep", wanted_to_keep


def _queue(queue: "QueueSettings") -> Iterator[Rule]:
    workers = queue.max_workers
    yield workers is None or 1 <= workers <= MAX_CALLS, "queue.max_workers", "1 to 1024"
    storage = queue.storage
    yield storage is None or is_database_url(storage), "queue.storage", _STORAGE_WANTED
    is_strict = queue.durability == "strict"
    yield storage is None or is_strict, "queue.durability", "strict with queue.storage"
    yield _is_path(queue.storage_path), "queue.storage_path", "a folder"
    yield 0 < queue.cleanup_interval <= MAX_S, "queue.cleanup_interval", _ABOVE_0
    yield queue.max_completed_tasks >= 0, "queue.max_completed_tasks", "0 or more"
    retention = queue.retention
    yield retention is None or 0 < retention <= MAX_S, "queue.retention", f"{_ABOVE_0}, or null"
    kept = queue.file_retention
    yield kept is None or 0 < kept <= MAX_S, "queue.file_retention", f"{_ABOVE_0}, or null"
    audit = queue.audit_retention
    yield audit is None or 0 < audit <= MAX_S, "queue.audit_retention", f"{_ABOVE_0}, or null"
    yield queue.max_queue_size > 0, "queue.max_queue_size", "1 or more"
    yield queue.max_queue_bytes > 0, "queue.max_queue_bytes", "a size above 0"


def _fleet(config: "Config") -> Iterator[Rule]:
    fleet = config.fleet
    yield fleet.url is None or _is_address(fleet.url), "fleet.url", _FLEET_URL_WANTED
    is_known = fleet.url is not None or config.server.host.strip("[]") not in ("0.0.0.0", "::")
    yield (
        config.queue.storage is None or is_known,
        "fleet.url",
        f"set, as this server listens on {config.server.host}: {_FLEET_URL_WANTED}",
    )
    yield 1 <= fleet.ttl <= 60, "fleet.ttl", "a duration of 1s to 60s"


def _scheduler(it: "SchedulerSettings") -> Iterator[Rule]:
    yield it.batch_size >= 1, "scheduler.batch_size", "1 or more"
    yield 0 < it.scheduling_interval <= MAX_S, "scheduler.scheduling_interval", _ABOVE_0
    yield 0 <= it.affinity_max_wait <= MAX_S, "scheduler.affinity_max_wait", _FROM_0
    aging = it.aging
    yield aging is None or 0 < aging <= MAX_S, "scheduler.aging", f"{_ABOVE_0}, or null"
    yield 0 <= it.model_wait <= MAX_S, "scheduler.model_wait", _FROM_0
    yield 0 <= it.max_rest <= DAY_S, "scheduler.max_rest", "a duration of 0 to 1 day"


def _retry(retry: "RetrySettings") -> Iterator[Rule]:
    yield 0 <= retry.max_retries <= 100, "retry_config.max_retries", "0 to 100"
    yield retry.initial_delay > 0, "retry_config.initial_delay", "a duration above 0"
    yield (
        retry.initial_delay <= retry.max_delay <= DAY_S,
        "retry_config.max_delay",
        "no less than retry_config.initial_delay, and 1 day at most",
    )
    yield retry.backoff_factor >= 1, "retry_config.backoff_factor", "1 or more"


def _remote(it: "RemoteScheduling") -> Iterator[Rule]:
    section = "remote_scheduling"
    yield 0 < it.health_check_interval <= MAX_S, f"{section}.health_check_interval", _ABOVE_0
    yield it.max_local_queue_size >= 0, f"{section}.max_local_queue_size", "0 or more"
    after = it.after
    yield after is None or 0 < after <= MAX_S, f"{section}.after", f"{_ABOVE_0}, or null"
    for index, endpoint in enumerate(it.endpoints):
        yield from _endpoint(f"{section}.endpoints[{index}]", endpoint)


def _endpoint(where: str, it: "Endpoint") -> Iterator[Rule]:
    yield _NAME.fullmatch(it.name) is not None, f"{where}.name", _NAME_WANTED
    url = it.base_url
    yield is_http_url(url), f"{where}.base_url", "an http(s) URL, such as https://gpu1:8080/v1"
    yield _is_key(it.api_key), f"{where}.api_key", "one line of ASCII"


def _auth(auth: "AuthSettings") -> Iterator[Rule]:
    names: set[str] = set()
    secrets: set[str] = set()
    for index, key in enumerate(auth.keys):
        where = f"auth.keys[{index}]"
        for is_kept, field, wanted in rules_for(key.name, key):
            yield is_kept, f"{where}.{field}", wanted
        yield key.name not in names, f"{where}.name", "a name that no other key has"
        names.add(key.name)
        is_given = (key.key == "") is not (key.sha256 == "")
        yield is_given, f"{where}.key", "set, or sha256 in its place"
        is_long = not key.key or MIN_KEY <= len(key.key) <= MAX_KEY
        yield is_long and _is_key(key.key) and " " not in key.key, f"{where}.key", _KEY_WANTED
        is_hash = not key.sha256 or _SHA256.fullmatch(key.sha256) is not None
        yield is_hash, f"{where}.sha256", "64 hex digits: the SHA-256 of the key"
        secret = key.sha256.lower() or digest_of(key.key).hex()
        yield secret not in secrets, f"{where}.key", "a key that no other name has"
        secrets.add(secret)


def _webhook(where: str, it: "Webhook") -> Iterator[Rule]:
    yield _NAME.fullmatch(it.name) is not None, f"{where}.name", _NAME_WANTED
    yield is_http_url(it.url), f"{where}.url", "an http(s) URL, such as https://app/hooks"
    yield not it.secret or signing_key(it.secret) is not None, f"{where}.secret", _SECRET_WANTED
    yield bool(it.events), f"{where}.events", "at least one event"
    for index, event in enumerate(it.events):
        known = f"one of {', '.join(sorted(DELIVERED))}"
        yield event in DELIVERED, f"{where}.events[{index}]", known
    tenant = it.tenant
    yield tenant is None or 0 < len(tenant) <= NAME, f"{where}.tenant", "a tenant, or null"


def _callbacks(it: "CallbackSettings") -> Iterator[Rule]:
    is_signed = not it.secret or signing_key(it.secret) is not None
    yield is_signed, "callbacks.secret", _SECRET_WANTED
    for index, text in enumerate(it.allowed_networks):
        where = f"callbacks.allowed_networks[{index}]"
        yield is_network(text), where, "an address or a network, such as 10.0.0.0/8"


def _names(config: "Config") -> Iterator[Rule]:
    """Check that names are unique over `backends` and enabled endpoints."""
    named = [(f"backends[{n}].name", b.name) for n, b in enumerate(config.backends)]
    taken = set() if named else {"ollama"}  # the backend of `ollama.host`
    for index, endpoint in enumerate(config.remote_scheduling.endpoints):
        if endpoint.enabled:
            named.append((f"remote_scheduling.endpoints[{index}].name", endpoint.name))
    for key, name in named:
        yield name not in taken, key, "a name that no other backend has"
        taken.add(name)


def _is_key(text: str) -> bool:
    """Whether a header can contain it."""
    return text.isascii() and text.isprintable()


def _is_base_path(text: str) -> bool:
    return bool(_BASE_PATH.fullmatch(text)) and text.split("/")[1:2] not in [
        [own] for own in _OWN_PATHS
    ]


def _is_address(text: str) -> bool:
    """Whether it is a URL of nothing but scheme, host and port."""
    return is_http_url(text) and without_path(text) == text.rstrip("/")


def _is_path(text: str) -> bool:
    return text != "" and "\0" not in text
