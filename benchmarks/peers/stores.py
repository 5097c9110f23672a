"""Redis and PostgreSQL, each started empty on a free port, durable, and stopped by its own id."""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.peers.install import required
from benchmarks.processes import free_port

READY_S = 30.0


@contextmanager
def running(
    command: Sequence[str | Path],
    log: Path,
    env: dict[str, str] | None = None,
    end: signal.Signals = signal.SIGTERM,
) -> Iterator[int]:
    """A process that ends with the context: asked to, and 10 s later killed, with its children.

    Yields its id."""
    with log.open("ab") as out:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=env,
            start_new_session=True,
        )
    try:
        yield child.pid
    finally:
        child.send_signal(end)
        with suppress(subprocess.TimeoutExpired):
            child.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


@contextmanager
def redis(folder: Path) -> Iterator[dict[str, str]]:
    """Redis with an fsync before each answer; yields the environment of its users."""
    port = str(free_port())
    durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    where = ["--port", port, "--bind", "127.0.0.1", "--dir", str(folder)]
    with running([required("redis-server"), *where, *durable], folder.with_suffix(".log")):
        _await([required("redis-cli"), "-p", port, "ping"])
        yield {"REDIS_PORT": port}


@contextmanager
def postgres(folder: Path) -> Iterator[dict[str, str]]:
    """PostgreSQL as Debian configures it: each commit is synced before it is acknowledged."""
    as_user: list[str] = []
    if not os.geteuid():  # it refuses to run as root
        user = pwd.getpwnam("postgres")
        as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        shutil.chown(folder, user.pw_uid, user.pw_gid)
        folder.parent.chmod(0o711)
    data, port = str(folder / "data"), str(free_port())
    env = {**os.environ, "LANG": "C.UTF-8", "HOME": str(folder)}
    setup = [required("initdb"), "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8"]
    subprocess.run([*as_user, *setup], check=True, env=env, cwd=folder, stdout=subprocess.DEVNULL)
    options = [
        "-p",
        port,
        "-k",
        "",
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "max_connections=200",
    ]
    command = [*as_user, required("postgres"), "-D", data, *options]
    with running(command, folder.with_suffix(".log"), env, end=signal.SIGINT):
        address = ["-h", "127.0.0.1", "-p", port, "-U", "bench"]
        _await([required("pg_isready"), *address])
        subprocess.run([required("createdb"), *address, "bench"], check=True)
        yield {"POSTGRES": f"host=127.0.0.1 port={port} user=bench dbname=bench"}


def _await(ready: Sequence[str]) -> None:
    deadline = time.monotonic() + READY_S
    while subprocess.run(ready, capture_output=True).returncode:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not ready within {READY_S:g} s: {' '.join(ready)}")
        time.sleep(0.05)
