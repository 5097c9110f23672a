"""Procrastinate beside a fleet on one PostgreSQL: jobs deferred by one process, run by several."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.peers.__main__ import PEERS, QUEUES
from benchmarks.peers.install import installed
from benchmarks.peers.stores import running
from benchmarks.processes import ROOT, ChildProgram

CONCURRENCY = 16  # of each worker


class Procrastinate(ChildProgram):
    """A process that defers jobs, and the workers that run them."""

    def __init__(self, postgres: dict[str, str], model_port: int, log: Path) -> None:
        commands, self._log, self._peer = installed(), log, PEERS["procrastinate"]
        path = {"PATH": f"{commands}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        self._env = {**os.environ, **path, **postgres, "MODEL_PORT": str(model_port)}
        subprocess.run(
            self._peer.setup, check=True, env=self._env, cwd=ROOT, stderr=subprocess.DEVNULL
        )
        argv = [str(commands / "python"), "-m", f"{QUEUES}.defer"]
        super().__init__("the process that defers", *argv, env=self._env)
        self.defer("noop", 40, 1, 40)  # connections are open

    def defer(self, task: str, clients: int, size: int, count: int) -> float:
        """Have so many clients defer `count` jobs, `size` at a time. Returns the rate."""
        self.tell(f"{task} {clients} {size} {count}\n".encode())
        return count / float(self.line())

    @contextmanager
    def workers(self, count: int) -> Iterator[list[int]]:
        """So many workers, which wait for jobs; yields the ids of their processes."""
        command = self._peer.worker(CONCURRENCY, self._env)
        with ExitStack() as stack:
            yield [
                stack.enter_context(running(command, self._log, self._env)) for _ in range(count)
            ]
