"""`make demo-fleet`: the demo's work on four servers and a PostgreSQL, each of them killed in turn.

They are started by the three commands of docs/fleet.md, in a new folder. Exits with 0 if all tasks
completed in the right order, whoever was killed.
"""

import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from demo import BIN, Cli, Task, instant, is_in_order, run, show_order, submit_mixed, verdict
from model_server import DIRECT, ROOT, LlamaServer, answers, write_config

HEADING = "## Four servers on this machine"
PORTS = (7121, 7122, 7123, 7124)  # as in the commands
TTL = "2s"  # a demo need not wait for the 5 s of the default
PATIENCE_S = 60.0
POSTGRES = "postgres"  # who runs it if we are root, whom it refuses


def documented() -> list[str]:
    """The three commands."""
    section = (ROOT / "docs" / "fleet.md").read_text().partition(HEADING)[2]
    block = re.search(r"```bash\n(.*?)```", section, re.DOTALL)
    if block is None:
        raise RuntimeError(f"docs/fleet.md has no commands under {HEADING!r}")
    commands = re.sub(r"\\\n *", "", block[1]).strip().splitlines()
    if len(commands) != 3:
        raise RuntimeError(f"docs/fleet.md has {len(commands)} commands, not three")
    return commands


class Fleet:
    """Four servers and a PostgreSQL; a context manager. All their data is in the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands = documented()
        versions = Path("/usr/lib/postgresql")
        newest = max(versions.glob("*/bin"), key=lambda path: int(path.parent.name), default=None)
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        if newest is not None:
            path = f"{newest}{os.pathsep}{path}"
        self.environment = {**os.environ, "PATH": path, "FLEET_TTL": TTL}
        self._log = (folder / "servers.log").open("ab")
        self._shells: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def begin(self) -> None:
        """Carry out the three commands."""
        for port in PORTS:
            try:
                socket.create_server(("127.0.0.1", port)).close()
            except OSError as error:
                raise RuntimeError(f"port {port}: {error.strerror}") from None
        if os.getuid() == 0:
            shutil.chown(self.folder, POSTGRES, POSTGRES)
        for number, command in enumerate(self.commands, 1):
            print(f"  {number}. {command}", flush=True)
            self.start(command) if number == 3 else self.run(command)
        for port in PORTS:
            await_that(lambda port=port: is_ready(port), f"the server on port {port} is ready")

    def run(self, command: str) -> None:
        """Carry out a command of PostgreSQL to its end."""
        user = ["--reuid", POSTGRES, "--regid", POSTGRES, "--init-groups"]
        becoming = ["setpriv", *user] if os.getuid() == 0 else []
        done = subprocess.run(
            [*becoming, "bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdout=self._log,
            stderr=self._log,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{command} has failed")

    def start(self, command: str) -> None:
        """Carry out a command that leaves servers running: in a session of its own, to end them."""
        self._shells.append(
            subprocess.Popen(
                ["bash", "-c", f"{command}\nwait"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
            )
        )

    def kill_server(self, port: int) -> None:
        """`kill -9` a server, and start it again with its part of the third command."""
        os.kill(self._server(port), signal.SIGKILL)
        await_that(lambda: not answers(f"http://127.0.0.1:{port}/healthz"), "it is gone")
        self.start(re.sub(r"for n in [\d ]+;", f"for n in {port % 10};", self.commands[2]))
        await_that(lambda: is_ready(port), f"the server on port {port} is ready again")

    def kill_postgres(self) -> None:
        """`kill -9` PostgreSQL, and start it again with the second command."""
        os.kill(int((self.folder / "pg" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        await_that(self._postgres_starts, "PostgreSQL is there again")

    def _postgres_starts(self) -> bool:
        """It refuses while a process of the killed one is still there."""
        try:
            self.run(self.commands[1])
        except RuntimeError:
            return False
        return True

    def _server(self, port: int) -> int:
        """The process of the server on this port."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                is_ours = os.getsid(int(entry.name)) in {shell.pid for shell in self._shells}
            except OSError:  # it has ended
                continue
            if is_ours and b"--port" in words and str(port).encode() in words:
                return int(entry.name)
        raise RuntimeError(f"no server of ours has port {port}")

    def last_words(self) -> str:
        return "\n".join((self.folder / "servers.log").read_text().splitlines()[-5:])

    def stop(self) -> None:
        for shell in self._shells:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
        if (self.folder / "pg" / "postmaster.pid").exists():
            self.run("pg_ctl --pgdata=pg --mode=immediate stop")
        self._log.close()


def is_ready(port: int) -> bool:
    return answers(f"http://127.0.0.1:{port}/readyz")


def await_that(holds: Callable[[], bool], what: str) -> None:
    due, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not holds():
        if time.monotonic() > due:
            raise RuntimeError(f"waited {PATIENCE_S:g} s until {what}")
        pause.wait(0.1)


class AnyServer(Cli):
    """Runs the command line client, with another server each time."""

    def __init__(self) -> None:
        self.urls = itertools.cycle(f"http://127.0.0.1:{port}" for port in PORTS)
        super().__init__("")

    def call(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        self.url = next(self.urls)
        return super().call(*arguments)


def leader() -> int:
    """The port of the server that leads, once one does."""
    found: list[int] = []

    def look() -> bool:
        found.extend(port for port in PORTS if role(port) == "leader")
        return bool(found)

    await_that(look, "a server leads")
    return found[0]


def role(port: int) -> str | None:
    try:
        with DIRECT.open(f"http://127.0.0.1:{port}/readyz", timeout=2) as response:
            return str(json.load(response)["role"])
    except OSError:
        return None


def kill_each(fleet: Fleet) -> datetime:
    """Kill each in turn: the one that leads, those that follow, the one that leads by then, and
    PostgreSQL, when tasks run. Returns when the last one was killed."""
    first = leader()
    print(f"  kill -9: the server on port {first}, which leads", flush=True)
    fleet.kill_server(first)
    then = leader()
    for port in PORTS:
        if port not in (first, then):
            print(f"  kill -9: the server on port {port}, which follows", flush=True)
            fleet.kill_server(port)
    if then != first:
        print(f"  kill -9: the server on port {then}, which leads since", flush=True)
        fleet.kill_server(then)
    leader()
    print("  kill -9: PostgreSQL", flush=True)
    killed_at = datetime.now(UTC)
    fleet.kill_postgres()
    return killed_at


def show(fleet: Fleet) -> bool:
    """Run the demo's work; whether all tasks completed in the right order, and later than the last
    kill."""
    cli = AnyServer()
    # A story is begun anew whenever its call is cut, and given up the fourth time: then the other
    # one keeps the slot.
    other = cli.submit("Write a very long story about a fleet.", "normal", num_predict=1000)
    story, asked = submit_mixed(cli)
    killed_at = kill_each(fleet)
    cli.call("cancel", story, other)
    cli.call("wait", *asked)
    tasks: list[Task] = json.loads(cli.run("list", "--output", "json"))
    ran = [task for task in tasks if task["id"] in asked and task["started_at"]]
    ran.sort(key=lambda task: instant(task, "started_at"))
    show_order(cli, ran, asked)
    completed = [task for task in ran if task["status"] == "completed"]
    in_order = is_in_order(ran, list(asked))
    print(f"\n{len(completed)} of {len(asked)} completed, {verdict(in_order)}.")
    ends = (instant(task, "completed_at") for task in completed)
    was_late = max(ends, default=killed_at) > killed_at
    return in_order and len(completed) == len(asked) and was_late


def main() -> bool:
    print("Four servers and a PostgreSQL:", flush=True)
    with (
        TemporaryDirectory(prefix="ollama-queue-demo-", ignore_cleanup_errors=True) as folder,
        LlamaServer(ROOT / ".demo") as model,
    ):
        write_config(Path(folder) / "config.yaml", model.url)
        with Fleet(Path(folder)) as fleet:
            try:
                fleet.begin()
                return show(fleet)
            except RuntimeError as error:
                raise RuntimeError(f"{error}\n{fleet.last_words()}") from None


if __name__ == "__main__":
    run(main)
