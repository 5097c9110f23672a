"""`ollama-queue-server`: the actors, as greenlets, and the HTTP server in one process.

Never import this module: its first lines patch the standard library for the whole process.
"""

import os

_signal = __import__("_signal")  # `signal` itself would load enums first, see cli/start.py
try:
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        # Die at once, as on SIGTERM: before the queue opens there is nothing to stop gracefully.
        # Blocked meanwhile: Python complains of a signal whose handler was just removed.
        _signal.pthread_sigmask(_signal.SIG_BLOCK, [_signal.SIGINT])
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, [_signal.SIGINT])
except KeyboardInterrupt:
    os._exit(130)

import gc

gc.disable()  # until the queue serves: what is made to start it stays
from gevent import events, monkey

# gevent would look for plugins of its own, for each module that it patches, in all packages that
# are installed: 0.1 s with a hundred of them.
events.notify_and_call_entry_points = events.notify
monkey.patch_all()

import ctypes
import errno
import logging
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar, cast

# httpx's own command line, which would load rich and Pygments.
sys.modules.setdefault("httpx._main", cast(Any, None))

import click
import croniter  # noqa: F401 (slow to import, as the executors are: no call should wait for it)
import gevent
from gevent.event import AsyncResult, Event
from gevent.threadpool import ThreadPool

from ollama_queue import __version__

from ...actors.base.thread_pool import OnDone, Pool, attempt
from ...actors.core.activity.tracing import is_export_configured
from ...actors.core.config.config import (
    Config,
    LoggingSettings,
    QueueSettings,
    ServerSettings,
)
from ...actors.core.config.urls import shown
from ...actors.core.model.errors import Invalid, QueueError, Unavailable
from ...actors.core.text.escaping import visible
from ...actors.embedded.manager import QueueManager
from ...actors.executors import create_executor, ollama, openai  # noqa: F401
from ...actors.files import standard_streams
from ...actors.logs import open_handler
from ...actors.settings import settings
from ...actors.supervision.generation import Runtime
from ...actors.supervision.switchboard import Switchboard
from ...actors.task_log import EventSummary, follow
from ..access.access_control import NO_KEYS, AccessControl
from ..access.fleet_access import FleetAccess
from ..forwarding.leader_door import LeaderDoor
from ..maintenance.commands import backup, export_command, import_command, restore, verify
from ..requests.proxies import Proxies
from .app import create_app
from .check_config import listing, readable_secrets
from .connection_limit import EXTRA
from .guard import Guard, is_loopback
from .http_server import HttpServer
from .hub_watch import HubWatch
from .receiving import Receivers

log = logging.getLogger("ollama_queue")

T = TypeVar("T")
FILES = 16_384  # open at once, sockets among them
BLOCK_BYTES = 128 << 10  # larger blocks of memory go back to the system when freed
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD in <malloc.h>
FULL_COLLECTION = 300  # in units of 7,000 objects made and kept, at some 100 bytes each
LINES_TOGETHER = 100  # a few milliseconds of work
LOG_S = 0.01  # how long they gather, while the clients of these tasks are answered


class NativePool:
    """A `Pool` of one native thread: the hub's own pool is shared with DNS lookups."""

    def __init__(self) -> None:
        self._pool = ThreadPool(1)

    def submit(self, work: Callable[[], T], done: OnDone[T]) -> None:
        # The link runs in the hub, where greenlets and their queues are safe to use.
        self._pool.spawn(attempt, work).rawlink(lambda result: done(*result.get_nowait()))

    def finish(self, timeout: float) -> bool:
        last: AsyncResult = self._pool.spawn(int)
        if not last.wait(timeout) and not last.ready():
            return False
        self._pool.kill()
        return True


def _pools() -> tuple[Pool, Pool]:
    return NativePool(), NativePool()


def _die(reason: str) -> None:
    """Exit at once, so that a supervisor can restart the queue even if the disk hangs."""
    _print_line(f"ollama-queue-server: {visible(reason)}")
    os._exit(70)


def _print_line(text: str) -> None:
    """Write to stderr; a closed stderr must not stop the server."""
    with suppress(OSError):
        click.echo(text, err=True)


def listen(host: str, port: int) -> list[socket.socket]:
    """Open listening sockets on one port, one per address of `host`; port 0 picks a free one.

    `localhost` means both loopback addresses. An address family that this machine lacks is skipped
    if another one works. Raises `Unavailable` if a socket cannot be opened.
    """
    listeners: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, address in _addresses(host):
            taken = listeners[0].getsockname()[1] if listeners else port
            try:
                listeners.append(_listener(family, (address[0], taken, *address[2:])))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error
        if missing is not None and not listeners:
            raise missing
    except OSError as error:
        for listener in listeners:
            listener.close()
        if port == 0 and listeners and error.errno == errno.EADDRINUSE:
            return listen(host, 0)  # the port was free at one address only
        raise Unavailable(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return listeners


def _addresses(host: str) -> list[tuple[socket.AddressFamily, Any]]:
    if host.lower().removesuffix(".") == "localhost":  # whatever /etc/hosts says
        return [(socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_INET6, ("::1", 0))]
    addresses = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in addresses]


def _listener(family: socket.AddressFamily, address: Any) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Inherited by each connection. Without it every answer waits 40 ms: it is sent in two
    # pieces, and Nagle's algorithm delays the second.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind(address)
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


def serve(config: Config, *, accept_loss: bool = False) -> None:
    """Serve until a signal, then stop gracefully; a second signal stops at once."""
    host = config.server.host.strip("[]")  # an IPv6 address may be written as in URLs
    guard = Guard(
        is_loopback(host),
        config.known_hosts,
        tuple(config.server.cors_origins),
        tuple(config.ollama.origins),
    )
    secure = _tls(config.server)
    listeners = listen(host, config.server.port)
    port = listeners[0].getsockname()[1]
    scheme = "http" if secure is None else "https"
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    hub = HubWatch()
    runtime = Runtime(
        _pools,
        partial(create_executor, make_receiver=Receivers()),
        _die,
        url,
        hub.yield_control,
        hub.longest_gap_ms,
        file_pool=NativePool,
    )
    queue = QueueManager(config, runtime=runtime, accept_loss=accept_loss)
    queue.start()
    _check_psycopg()
    access = AccessControl(
        required=config.auth.required, most_per_key=config.server.max_per_address
    )
    door = None
    if queue.fleet is None:
        queue.watch_grants(access.replace)
    else:
        keys = FleetAccess(queue.fleet, queue, access, config.auth.grants)
        door = LeaderDoor(queue.fleet, config.fleet.ttl, keys.begin_to_lead, queue, Receivers())
    if config.auth.required and not access.has_keys and door is None:
        queue.close()
        raise Invalid(NO_KEYS, field="auth.required")
    summary = None if config.logging.file else EventSummary()  # nobody rotates what goes to stderr
    journal = follow(queue.listen_for_log, LINES_TOGETHER, hub.yield_control, summary, LOG_S)
    app = create_app(
        queue,
        max_body=config.server.max_body,
        max_upload=config.server.max_upload,
        max_file=config.server.max_file,
        passes_admin=config.proxy.admin,
        guard=guard,
        access=access,
    )
    server = HttpServer(
        listeners,
        app,
        most=_connections(),
        most_per_address=config.server.max_per_address,
        proxies=Proxies(config.server.trusted_proxies, config.server.base_path),
        yield_control=hub.yield_control,
        tls=secure,
        door=door,
    )
    if queue.fleet is not None:
        queue.fleet.watch(partial(_refuse_if_closed, queue.fleet, server))
    server.start()
    _tune()
    hub.open()
    stopping = _on_signal()
    backends = ", ".join(f"{b.name} ({b.type} at {shown(b.url)})" for b in config.all_backends)
    _announce(
        config,
        f"Ollama Queue {__version__} on {url}; tasks in {_place(config.queue)}; "
        f"{config.workers} {'worker' if config.workers == 1 else 'workers'} for {backends}",
    )
    if not access.is_on and not is_loopback(host):
        log.warning(
            "no API keys: everybody who can reach %s may read, change and delete all tasks; "
            "see auth.keys, and --require-auth to refuse to start like this",
            url,
        )
    if config.queue.durability == "relaxed":
        log.warning("durability is relaxed: a power failure may lose the last seconds")
    spans = _export_spans(queue)
    stopping.wait()
    _announce(config, "stopping: running tasks may finish, a second signal stops at once")
    queue.close()  # the server still answers: reads work, submits get 503
    if journal is not None:
        journal.close()
    if spans is not None:
        spans.close()
    server.stop(timeout=1)


def _refuse_if_closed(fleet: Switchboard, server: HttpServer) -> None:
    """What one of several servers has no answer to any more, another one has."""
    if fleet.is_closed:
        server.refuse()


def _check_psycopg() -> None:
    """psycopg decides when it is imported how it waits: in C, nobody else would be served."""
    waiting = sys.modules.get("psycopg.waiting")
    assert waiting is None or waiting.wait.__name__ == "wait_poll", "gevent patches first"


def _place(queue: QueueSettings) -> str:
    """Where tasks are, without a password."""
    return queue.storage_path if queue.storage is None else shown(queue.storage)


def _export_spans(queue: QueueManager) -> Any:
    """Start to export spans if OpenTelemetry's environment variables say where; None if not."""
    if not is_export_configured(os.environ):
        return None
    try:
        from ...actors.spans import export_spans
    except ImportError:
        log.warning("spans are not exported: pip install 'ollama-queue[otel]'")
        return None
    return export_spans(queue.listen_for_log)


def _tls(server: ServerSettings) -> ssl.SSLContext | None:
    """The TLS context, or None for plain HTTP. Raises `Invalid` for unusable files."""
    if server.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(server.tls_cert, server.tls_key, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError too
        files = f"server.tls_cert {server.tls_cert} and server.tls_key {server.tls_key}"
        why = error.strerror if isinstance(error, FileNotFoundError) else error
        raise Invalid(f"{files} cannot be used: {why}", field="server.tls_cert") from None
    return context


def _connections() -> int:
    """The connection limit: open files allowed, less some for the disk and model servers."""
    most, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < FILES:
        most = FILES if allowed == resource.RLIM_INFINITY else min(FILES, allowed)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, allowed))
    return max(most - 512, most // 2) - EXTRA


def _announce(config: Config, text: str) -> None:
    """Print to stderr, or with JSON logging to the log, so that every line is JSON."""
    if config.logging.format == "json":
        log.info(text)
    else:
        _print_line(text)


def _log_as(settings: LoggingSettings) -> None:
    """Set up logging. Raises `Invalid` if the log file cannot be written."""
    logging.root.addHandler(open_handler(settings))
    logging.root.setLevel(settings.level.upper())
    for chatty in ("httpx", "httpcore", "pykka"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _tune() -> None:
    gc.freeze()  # objects made at startup stay: collections can skip them
    # Nobody is answered during a full collection, which takes 50 ms with a thousand feeds or a
    # million tasks. It hardly ever has something to free: requests leave no garbage in circles.
    gc.set_threshold(700, 10, FULL_COLLECTION)
    gc.enable()
    _give_back_memory()
    # The sync thread waits up to this long for the interpreter after the disk is done.
    sys.setswitchinterval(0.0002)


def _give_back_memory() -> None:
    """Make glibc return freed blocks above `BLOCK_BYTES` to the system. By default it raises that
    threshold, and the process keeps the memory of the largest batch ever received."""
    choose = getattr(ctypes.CDLL(None), "mallopt", None)
    if choose is not None:  # glibc only
        choose(_MMAP_THRESHOLD, BLOCK_BYTES)


def _on_signal() -> Event:
    """An event that the first termination signal sets; the second exits at once.

    SIGHUP counts, unless it was ignored at startup, as under `nohup`.
    """
    stopping = Event()

    def stop() -> None:
        if stopping.is_set():
            os._exit(130)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN or number is not signal.SIGHUP:
            gevent.signal_handler(number, stop)
    return stopping


class ServerCommand(click.Group):
    """`ollama-queue-server`: without the name of a command it serves. Prints any `QueueError`."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except QueueError as error:
            click.echo(f"ollama-queue-server: {visible(error.message)}", err=True)
            sys.exit(2 if error.code == "invalid" else 1)


@click.command(
    cls=ServerCommand,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--host", help="Address to listen on. Default: 127.0.0.1, this machine only.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on. Default: 7125.")
@click.option("--data-dir", help="Folder to store tasks in. Default: ./data.")
@click.option("--storage", help="PostgreSQL to store tasks in, for several servers. Its URL.")
@click.option("--ollama-host", help="URL of Ollama. Default: http://localhost:11434.")
@click.option("--config", "path", help="Configuration file; config.example.yaml lists all keys.")
@click.option("--require-auth", is_flag=True, help="Refuse to start without API keys.")
@click.option("--workers", type=click.IntRange(1), help="Model calls at once, at most. Default: 4.")
@click.option("--log-format", type=click.Choice(["text", "json"]), help="Default: text.")
@click.option("--verbose", is_flag=True, help="Log at debug level.")
@click.option("--accept-loss", is_flag=True, help="Start even if acknowledged changes are lost.")
@click.option("--check-config", is_flag=True, help="Print all settings with their origins.")
@click.version_option(__version__, prog_name="ollama-queue-server", message="%(prog)s %(version)s")
@click.pass_context
def main(
    context: click.Context,
    /,
    path: str | None,
    verbose: bool,
    accept_loss: bool,
    check_config: bool,
    require_auth: bool,
    **given: Any,
) -> None:
    """Run the queue server, or a command for its data.

    Example: ollama-queue-server --port 7125 --data-dir ./data
    """
    keys = {
        "host": "server.host",
        "port": "server.port",
        "data_dir": "queue.storage_path",
        "storage": "queue.storage",
        "ollama_host": "ollama.host",
        "workers": "queue.max_workers",
        "log_format": "logging.format",
    }
    flags = {keys[name]: value for name, value in given.items() if value is not None}
    if require_auth:
        flags["auth.required"] = True
    if verbose:
        flags["logging.level"] = "debug"
    standard_streams.prepare()
    os.umask(0o077)  # files that this process writes (RocksDB's, logs) are private to the user
    if context.invoked_subcommand is not None:
        if path is not None or flags or accept_loss or check_config:
            raise click.UsageError("options of a command come after its name")
        return
    loaded = settings.trace(path, os.environ, flags)
    if check_config:
        click.echo(listing(loaded), nl=False)
    else:
        _log_as(loaded.config.logging)
        if path is not None and (warning := readable_secrets(path, loaded)):
            log.warning("%s", warning)
        serve(settings.anchored(loaded.config), accept_loss=accept_loss)
        standard_streams.finish()


for command in (backup, restore, verify, export_command, import_command):
    main.add_command(command)


if __name__ == "__main__":
    main()
