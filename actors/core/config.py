"""The settings of a queue as one frozen record; `settings.py` reads it from file and env."""

from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct, field
from msgspec.structs import replace

from ollama_queue.actors.core.errors import Invalid

DAY_S = 86_400.0


class Server(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the HTTP door listens. A body has at most `max_body` bytes, that of a batch
    `max_upload`; `shutdown_grace` in seconds."""

    host: str = "127.0.0.1"
    port: int = 7125
    max_body: int = 32 << 20
    max_upload: int = 256 << 20
    shutdown_grace: float = 30.0


class Ollama(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The only backend unless `backends` names another; `timeout` is silence, in seconds."""

    host: str = "http://localhost:11434"
    timeout: float = 300.0


class Backend(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model server. `parallel` is how many calls it gets at once (None: see `Config`).

    Of two that would do, the one of higher `priority` is taken. `models` empty: those it lists.
    `remote` None: an `openai` one is remote unless it runs on this machine.
    """

    name: str
    url: str
    type: Literal["ollama", "openai"] = "ollama"
    api_key: str = field(default="")
    parallel: int | None = None
    priority: int = 0
    tags: list[str] = []
    models: list[str] = []
    remote: bool | None = None

    def __repr__(self) -> str:  # the key must not reach a log
        return f"Backend({self.name!r}, {self.type}, {shown(self.url)!r})"


class Queue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`max_queue_size` tasks and `max_queue_bytes` of payload may wait at once."""

    max_workers: int | None = None
    storage_path: str = "./data"
    cleanup_interval: float = 3600.0
    max_completed_tasks: int = 100_000
    retention: float | None = 7 * DAY_S
    max_queue_size: int = 1_000_000
    max_queue_bytes: int = 4 << 30
    durability: Literal["strict", "relaxed"] = "strict"


class Scheduler(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which waiting task runs next, beyond priority and age; instants in seconds.

    `affinity` prefers, inside one level, tasks whose model is loaded where a call may start; none
    is passed over for longer than `affinity_max_wait`. With `aging` a waiting task climbs one
    priority each so many seconds. `fair` shares each level between tenants, by tokens. A task whose
    model no backend lists fails after `model_wait`. `batch_size` and `scheduling_interval` are
    read and have no effect: nothing here polls.
    """

    batch_size: int = 10
    scheduling_interval: float = 1.0
    policy: Literal["fifo", "affinity"] = "fifo"
    affinity_max_wait: float = 30.0
    aging: float | None = None
    fair: bool = False
    model_wait: float = 600.0


class Endpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A remote server as `remote_scheduling` names it: it becomes a `Backend`."""

    name: str
    base_url: str
    api_key: str = ""
    priority: int = 0
    enabled: bool = True

    def __repr__(self) -> str:  # the key must not reach a log
        return f"Endpoint({self.name!r}, {shown(self.base_url)!r})"


class RemoteScheduling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How local and remote backends share the work; `endpoints` count only when `enabled`.

    `local_first_policy`: of backends that could run a task now, local ones come first, until more
    than `max_local_queue_size` tasks wait. `fallback_to_local`: a task with `remote_execution` may
    run on a local one while no remote one is well. `health_check_interval` in seconds.
    """

    enabled: bool = False
    health_check_interval: float = 30.0
    fallback_to_local: bool = True
    local_first_policy: bool = True
    max_local_queue_size: int = 100
    endpoints: list[Endpoint] = []


class Retry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Exponential backoff: `initial_delay * backoff_factor**n`, at most `max_delay` (seconds)."""

    max_retries: int = 3
    initial_delay: float = 1.0
    max_delay: float = 30.0
    backoff_factor: float = 2.0


class Logging(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`file` None logs to stderr; a file is rotated."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    file: str | None = None
    format: Literal["text", "json"] = "text"


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings. Checked when made; raises `Invalid`, naming the key as `section.key`."""

    server: Server = Server()
    ollama: Ollama = Ollama()
    backends: list[Backend] = []
    queue: Queue = Queue()
    scheduler: Scheduler = Scheduler()
    retry_config: Retry = Retry()
    remote_scheduling: RemoteScheduling = RemoteScheduling()
    logging: Logging = Logging()

    def __post_init__(self) -> None:
        _check(1 <= self.server.port <= 65535 or self.server.port == 0, "server.port", "0 to 65535")
        _check(self.server.max_body > 0, "server.max_body", "a size above 0")
        _check(self.server.max_upload > 0, "server.max_upload", "a size above 0")
        _check(0 <= self.server.shutdown_grace <= DAY_S, "server.shutdown_grace", "0 to 1 day")
        _check(is_http_url(self.ollama.host), "ollama.host", "an http(s) URL")
        _check(
            0 < self.ollama.timeout <= DAY_S, "ollama.timeout", "a duration above 0, up to 1 day"
        )
        for backend in self.backends:
            _check(backend.name != "", "backends.name", "a name")
            _check(
                is_http_url(backend.url),
                "backends.url",
                "an http(s) URL, such as http://gpu1:11434",
            )
            _check(
                backend.parallel is None or backend.parallel > 0, "backends.parallel", "1 or more"
            )
        workers = self.queue.max_workers
        _check(workers is None or 1 <= workers <= 1024, "queue.max_workers", "1 to 1024")
        _check(self.queue.storage_path != "", "queue.storage_path", "a folder")
        _check(self.queue.max_queue_size > 0, "queue.max_queue_size", "1 or more")
        _check(self.queue.max_queue_bytes > 0, "queue.max_queue_bytes", "a size above 0")
        retry = self.retry_config
        _check(0 <= retry.max_retries <= 100, "retry_config.max_retries", "0 to 100")
        _check(retry.initial_delay > 0, "retry_config.initial_delay", "a duration above 0")
        _check(
            retry.initial_delay <= retry.max_delay <= DAY_S,
            "retry_config.max_delay",
            "no less than retry_config.initial_delay, and 1 day at most",
        )
        _check(retry.backoff_factor >= 1, "retry_config.backoff_factor", "1 or more")

    @property
    def all_backends(self) -> list[Backend]:
        """The model servers in use, each with its `parallel` and `remote` settled.

        Those of `backends`, else the one of `ollama.host`; then the enabled endpoints of
        `remote_scheduling`, of type `openai`, when it is enabled. `parallel` defaults to
        `queue.max_workers` for a single Ollama, else to 1 (ollama) or 4 (openai); to 4 where a
        single backend sets neither.
        """
        named = self.backends or [Backend(name="ollama", url=self.ollama.host)]
        if self.remote_scheduling.enabled:
            remote = [e for e in self.remote_scheduling.endpoints if e.enabled]
            named = [*named, *map(_from_endpoint, remote)]
        alone = len(named) == 1
        return [self._settled(backend, alone) for backend in named]

    def _settled(self, backend: Backend, alone: bool) -> Backend:
        parallel = backend.parallel
        if parallel is None and alone:
            parallel = self.queue.max_workers or 4
        elif parallel is None:
            parallel = 1 if backend.type == "ollama" else 4
        remote = backend.remote
        if remote is None:
            remote = backend.type == "openai" and not _is_here(backend.url)
        return replace(backend, parallel=parallel, remote=remote)

    @property
    def ollama_alone(self) -> bool:
        """All model servers in use are Ollama's."""
        return all(backend.type == "ollama" for backend in self.all_backends)

    @property
    def workers(self) -> int:
        """How many calls may run at once: `queue.max_workers`, else the sum of `parallel`."""
        return self.queue.max_workers or sum(b.parallel or 1 for b in self.all_backends)


def _from_endpoint(endpoint: Endpoint) -> Backend:
    return Backend(
        name=endpoint.name,
        url=endpoint.base_url,
        type="openai",
        api_key=endpoint.api_key,
        priority=endpoint.priority,
        remote=True,
    )


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def is_http_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    known = parts.scheme in ("http", "https") and bool(parts.hostname)
    return known and port != 0 and not any(ch.isspace() or ord(ch) < 32 for ch in text)


def shown(url: str) -> str:
    """A URL without the name and password that it may hold."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _check(good: bool, key: str, wanted: str) -> None:
    if not good:
        raise Invalid(f"{key} must be {wanted}", field=key)
