"""The settings of a queue as one frozen record; `actors/settings` reads them."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Struct, field
from msgspec.structs import asdict, replace

from ..access.keys import Grant, digest_of, grant_of
from ..model.access_keys import KeyRules
from ..model.event_names import ENDS
from .checks import DAY_S, check
from .urls import is_here, shown

# Plain numbers and text, marked with their notation: `notation.py` parses each.
Seconds = Annotated[float, "seconds"]
Size = Annotated[int, "bytes"]
Path = Annotated[str, "path"]
OllamaHost = Annotated[str, "OLLAMA_HOST"]
Secret = Annotated[str, "secret"]
Url = Annotated[str, "URL"]
Database = Annotated[str, "PostgreSQL"]
Names = Annotated[list[str], "one or several"]

FALLBACK_AFTER_S = 30.0


class ServerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP server. A body has at most `max_body` bytes, a batch's `max_upload`, an uploaded
    file `max_file`; `shutdown_grace` is in seconds. With `tls_cert` and `tls_key`, it serves HTTPS.
    `cors_origins`: further sites whose pages may use it from a browser. `allowed_hosts`: further
    host names that it accepts while it listens only on this machine. `base_path`: a prefix of all
    paths. `trusted_proxies`: addresses and networks whose `X-Forwarded-For` is believed.
    `max_per_address`: connections of one other machine, and requests of one API key, at once; None:
    no limit."""

    host: str = "127.0.0.1"
    port: int = 7125
    max_body: Size = 32 << 20
    max_upload: Size = 256 << 20
    max_file: Size = 512 << 20
    shutdown_grace: Seconds = 30.0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    cors_origins: list[str] = []
    allowed_hosts: list[str] = []
    base_path: str = ""
    trusted_proxies: list[str] = []
    max_per_address: int | None = 1000


class OllamaSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The only backend unless `backends` names others; `timeout` is of silence, in seconds.

    Pages of `origins`, which may contain `*`, may use the routes of Ollama's and OpenAI's API."""

    host: OllamaHost = "http://localhost:11434"
    timeout: Seconds = 300.0
    origins: list[str] = []


class Backend(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model server. `parallel`: the number of concurrent calls (None: see `Config`).

    If several could take a task, the one with the highest `priority` does. `models` empty: those it
    lists. `remote` None: an `openai` backend is remote unless it runs on this machine.
    """

    name: str
    url: Url
    type: Literal["ollama", "openai"] = "ollama"
    api_key: Secret = ""
    parallel: int | None = None
    priority: int = 0
    tags: list[str] = []
    models: list[str] = []
    remote: bool | None = None

    def __repr__(self) -> str:  # the key must not reach a log
        return f"Backend({self.name!r}, {self.type}, {shown(self.url)!r})"


class ModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for one model. A task that waited `after` seconds for it, or that no backend can
    run now, may run with the models of `fallback`, in order. `after` None: however long it waits.
    The Ollama servers of `keep` have it in memory all the time.
    """

    fallback: list[str] = []
    after: Seconds | None = FALLBACK_AFTER_S
    keep: Names = []


class QueueSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most `max_queue_size` tasks, with `max_queue_bytes` of payload, may wait at once. With
    `storage`, the URL of a PostgreSQL, the queue is there in place of `storage_path`, and several
    servers share it. A file is deleted `file_retention` seconds after its creation, unless its user
    set another time, an entry of the audit log after `audit_retention`."""

    max_workers: int | None = None
    storage: Database | None = None
    storage_path: Path = "./data"
    cleanup_interval: Seconds = 3600.0
    max_completed_tasks: int = 100_000
    retention: Seconds | None = 7 * DAY_S
    file_retention: Seconds | None = 30 * DAY_S
    audit_retention: Seconds | None = 90 * DAY_S
    max_queue_size: int = 1_000_000
    max_queue_bytes: Size = 4 << 30
    durability: Literal["strict", "relaxed"] = "strict"

    def __repr__(self) -> str:  # the password must not reach a log
        shown_as = {"storage": None if self.storage is None else shown(self.storage)}
        values = asdict(self) | shown_as
        return f"QueueSettings({', '.join(f'{name}={value!r}' for name, value in values.items())})"


class FleetSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Several servers on one `queue.storage`. `url` is where the others reach this one, None: where
    it listens. Another one takes the lead when the leader has been silent for `ttl` seconds."""

    url: Url | None = None
    ttl: Seconds = 5.0


class SchedulerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which waiting task runs next, beyond priority and age; durations in seconds.

    `affinity` prefers, within a priority, tasks whose model is loaded on a free backend; no task is
    passed over for longer than `affinity_max_wait`. With `aging`, a waiting task gains one priority
    per that many seconds. `fair` shares each priority between tenants, by tokens. A task whose
    model no backend lists fails after `model_wait`. A server that sends `Retry-After` gets no calls
    for at most `max_rest`. `batch_size` and `scheduling_interval` are accepted and have no effect,
    as nothing polls.
    """

    batch_size: int = 10
    scheduling_interval: Seconds = 1.0
    policy: Literal["fifo", "affinity"] = "fifo"
    affinity_max_wait: Seconds = 30.0
    aging: Seconds | None = None
    fair: bool = False
    model_wait: Seconds = 600.0
    max_rest: Seconds = 300.0


class Endpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A remote server in `remote_scheduling`; becomes a `Backend`."""

    name: str
    base_url: Url
    api_key: Secret = ""
    priority: int = 0
    enabled: bool = True

    def __repr__(self) -> str:  # the key must not reach a log
        return f"Endpoint({self.name!r}, {shown(self.base_url)!r})"


class RemoteScheduling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How local and remote backends share the work; `endpoints` count only when `enabled`.

    `local_first_policy`: local backends that could run a task now are preferred, until more than
    `max_local_queue_size` tasks wait; with `after`, a task waits that many seconds for them before
    a remote one may take it. `fallback_to_local`: a task with `remote_execution` may run
    on a local backend while no remote one is healthy. `health_check_interval` is in seconds.
    """

    enabled: bool = False
    health_check_interval: Seconds = 30.0
    fallback_to_local: bool = True
    local_first_policy: bool = True
    max_local_queue_size: int = 100
    after: Seconds | None = None
    endpoints: list[Endpoint] = []


class RetrySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Exponential backoff: `initial_delay * backoff_factor**n`, at most `max_delay` (seconds)."""

    max_retries: int = 3
    initial_delay: Seconds = 1.0
    max_delay: Seconds = 30.0
    backoff_factor: float = 2.0


class ProxySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """With `admin`, requests of Ollama's API that change models (pull, push, create, copy, delete,
    blobs) are passed on to the model servers; without, they are refused."""

    admin: bool = False


class KeySettings(KeyRules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An API key: its `name`, the `key` or its `sha256` (64 hex digits), and what it allows."""

    name: str
    key: Secret = ""
    sha256: Secret = ""

    def __repr__(self) -> str:  # the key must not reach a log
        return f"KeySettings({self.name!r}, {self.role})"


class AuthSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """API keys. With `required`, a server without any key refuses to start."""

    required: bool = False
    keys: list[KeySettings] = []

    @property
    def grants(self) -> list[Grant]:
        """What each of the keys allows."""
        return [grant_of(key.name, _digest_of(key), key) for key in self.keys]


class Webhook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A URL that is sent the events `events`, of all tasks or of those of a `tenant`.

    `secret` signs the requests: `whsec_` and 24 to 64 bytes in base64.
    """

    name: str
    url: Url
    secret: Secret = ""
    events: list[str] = field(default_factory=lambda: sorted(ENDS))
    tenant: str | None = None

    def __repr__(self) -> str:  # the secret must not reach a log
        return f"Webhook({self.name!r}, {shown(self.url)!r})"


class CallbackSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests to the `callback_url` of tasks. `secret` signs them, as in `webhooks`. They go to
    public addresses only, and to those of `allowed_networks`."""

    secret: Secret = ""
    allowed_networks: list[str] = []

    def __repr__(self) -> str:
        return f"CallbackSettings(allowed_networks={self.allowed_networks!r})"


class LoggingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """With `file` None, logs to stderr; a file is rotated."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    file: Path | None = None
    format: Literal["text", "json"] = "text"


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings, in the sections of the configuration file: `server`, `ollama`, `backends`,
    `models` (by name), `queue`, `fleet`, `scheduler`, `retry_config`, `remote_scheduling`, `proxy`,
    `auth`, `webhooks`, `callbacks`, `logging`.

    Checked on creation. Raises `Invalid`, naming the key as `section.key`.
    """

    server: ServerSettings = ServerSettings()
    ollama: OllamaSettings = OllamaSettings()
    backends: list[Backend] = []
    models: dict[str, ModelSettings] = {}
    queue: QueueSettings = QueueSettings()
    fleet: FleetSettings = FleetSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    retry_config: RetrySettings = RetrySettings()
    remote_scheduling: RemoteScheduling = RemoteScheduling()
    proxy: ProxySettings = ProxySettings()
    auth: AuthSettings = AuthSettings()
    webhooks: list[Webhook] = []
    callbacks: CallbackSettings = CallbackSettings()
    logging: LoggingSettings = LoggingSettings()

    def __post_init__(self) -> None:
        check(self)

    @property
    def all_backends(self) -> list[Backend]:
        """The model servers in use, with `parallel` and `remote` filled in.

        Those of `backends`, else the one of `ollama.host`; then, if `remote_scheduling` is enabled,
        its enabled endpoints, of type `openai`. `parallel` defaults to `queue.max_workers` for a
        single Ollama, else to 1 (ollama) or 4 (openai); to 4 for a single backend if neither is
        set.
        """
        named = self.backends or [Backend(name="ollama", url=self.ollama.host)]
        if self.remote_scheduling.enabled:
            remote = [e for e in self.remote_scheduling.endpoints if e.enabled]
            named = [*named, *map(_from_endpoint, remote)]
        alone = len(named) == 1
        return [self._settled(backend, alone) for backend in named]

    @property
    def known_hosts(self) -> tuple[str, ...]:
        """The hosts that requests to a server on loopback may name beyond local ones: those of
        `server.allowed_hosts`, and that in `fleet.url`, by which other servers ask it."""
        own = () if self.fleet.url is None else (urlsplit(self.fleet.url).hostname or "",)
        return (*self.server.allowed_hosts, *own)

    @property
    def kept_models(self) -> dict[str, list[str]]:
        """The models that each backend must have in memory, by the backend's name."""
        kept: dict[str, list[str]] = {}
        for model, settings in self.models.items():
            for name in settings.keep:
                kept.setdefault(name, []).append(model)
        return kept

    def _settled(self, backend: Backend, alone: bool) -> Backend:
        parallel = backend.parallel
        if parallel is None and alone:
            parallel = self.queue.max_workers or 4
        elif parallel is None:
            parallel = 1 if backend.type == "ollama" else 4
        remote = backend.remote
        if remote is None:
            remote = backend.type == "openai" and not is_here(backend.url)
        return replace(backend, parallel=parallel, remote=remote)

    @property
    def workers(self) -> int:
        """The number of concurrent calls: `queue.max_workers`, else the sum of `parallel`."""
        return self.queue.max_workers or sum(b.parallel or 1 for b in self.all_backends)


def _digest_of(key: KeySettings) -> bytes:
    return bytes.fromhex(key.sha256) if key.sha256 else digest_of(key.key)


def _from_endpoint(endpoint: Endpoint) -> Backend:
    return Backend(
        name=endpoint.name,
        url=endpoint.base_url,
        type="openai",
        api_key=endpoint.api_key,
        priority=endpoint.priority,
        remote=True,
    )
