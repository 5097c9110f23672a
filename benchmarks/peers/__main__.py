"""How fast are other task queues on the same job? `python -m benchmarks.peers [NAME…]`.

The job is one POST to a model server that answers at once. Each peer is as durable as this queue:
Redis syncs each write before it answers, PostgreSQL and SQLite each commit; a task is acknowledged
after it has run, and its result is kept. Each peer is measured beside this queue, in turn.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks import load
from benchmarks.harness import Bench, Row, Rows, as_markdown, at_least, machine, percentiles_ms
from benchmarks.peers import stores
from benchmarks.peers.install import installed, versions
from benchmarks.processes import ROOT, Stub, paused_server
from benchmarks.submits import embedded_submits

QUEUES = "benchmarks.peers.queues"
CLIENTS = 8  # processes that enqueue
MANY, FEW = 32, 4  # workers
PICKUPS, PER_SECOND = 50, 20
IDLE_S = 0.5  # before pickups
PATIENCE_S = 180.0
POST = load.request("POST", "/api/tasks", load.task_body())
# The figures, and by which of ours each figure of a peer is divided, or divides.
ENQUEUED = "enqueued a second, 8 processes"
OVER_HTTP = "enqueued a second, HTTP, 64 connections"
EMBEDDED = "enqueued a second, embedded, 16 threads"
DRAINED_BY_MANY, DRAINED_BY_FEW = (f"drained a second, {count} workers" for count in (MANY, FEW))
PICKUP = "pickup p50 ms"
COUNTERPARTS = {
    ENQUEUED: ENQUEUED,
    OVER_HTTP: ENQUEUED,
    EMBEDDED: ENQUEUED,
    DRAINED_BY_MANY: DRAINED_BY_MANY,
    DRAINED_BY_FEW: DRAINED_BY_FEW,
    PICKUP: PICKUP,
}
BARS = {OVER_HTTP: at_least(1), DRAINED_BY_MANY: at_least(4)}  # of the ratios

Env = dict[str, str]


class Peer(NamedTuple):
    """A queue: the module that enqueues, its store, and the command of its worker."""

    module: str
    store: Callable[[Path], AbstractContextManager[Env]]
    worker: Callable[[int, Env], Sequence[str]]
    setup: Sequence[str] = ()


def _sqlite(folder: Path) -> AbstractContextManager[Env]:
    return nullcontext({"SQLITE": str(folder / "huey.db")})


def _celery(pool: str, workers: int, _: Env) -> Sequence[str]:
    quiet = ["-l", "ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    return ["celery", "-A", f"{QUEUES}.on_celery", "worker", "-P", pool, "-c", f"{workers}", *quiet]


def _rq(workers: int, env: Env) -> Sequence[str]:
    """Without a fork for each job, which is what it does unless told otherwise."""
    redis = ["-u", f"redis://127.0.0.1:{env['REDIS_PORT']}"]
    simple = ["-w", "rq.worker.SimpleWorker", "--quiet"]
    return ["rq", "worker-pool", *redis, "-n", f"{workers}", *simple, "bench"]


def _dramatiq(workers: int, _: Env) -> Sequence[str]:
    processes = 1 if workers < 8 else 2
    return [
        "dramatiq", f"{QUEUES}.on_dramatiq", "-p", f"{processes}", "-t", f"{workers // processes}",
    ]  # fmt: skip


def _huey(workers: int, _: Env) -> Sequence[str]:
    return ["huey_consumer", f"{QUEUES}.on_huey.huey", "-w", f"{workers}", "-k", "thread", "-q"]


def _procrastinate(workers: int, _: Env) -> Sequence[str]:
    return [*PROCRASTINATE, "worker", "-q", "bench", "-c", f"{workers}"]


def _saq(_workers: int, _: Env) -> Sequence[str]:
    return ["saq", f"{QUEUES}.on_saq.settings"]


PROCRASTINATE = ["procrastinate", "--log-level=error", f"--app={QUEUES}.on_procrastinate.app"]
PEERS = {
    "celery": Peer("on_celery", stores.redis, partial(_celery, "threads")),
    "celery-prefork": Peer("on_celery", stores.redis, partial(_celery, "prefork")),
    "rq": Peer("on_rq", stores.redis, _rq),
    "dramatiq": Peer("on_dramatiq", stores.redis, _dramatiq),
    "huey": Peer("on_huey", stores.redis, _huey),
    "huey-sqlite": Peer("on_huey", _sqlite, _huey),
    "procrastinate": Peer(
        "on_procrastinate", stores.postgres, _procrastinate, [*PROCRASTINATE, "schema", "--apply"]
    ),
    "saq": Peer("on_saq", stores.redis, _saq),
}


# --- one queue ----------------------------------------------------------------------------------


class Enqueuers:
    """Processes that enqueue, with their connections open."""

    def __init__(self, python: str, module: str, env: Env, stack: ExitStack) -> None:
        command = [python, "-m", f"{QUEUES}.enqueue", module]
        self._children = [
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd=ROOT
            )
            for _ in range(CLIENTS)
        ]
        for child in self._children:
            stack.callback(_end, child)
        self.enqueue(CLIENTS)

    def enqueue(self, tasks: int) -> float:
        """Enqueue as fast as all can. Returns the rate."""
        return self._carry_out(shares(tasks, CLIENTS), 0)

    def enqueue_at_a_pace(self, tasks: int) -> None:
        self._carry_out([tasks], PER_SECOND)

    def _carry_out(self, counts: Sequence[int], per_second: int) -> float:
        """Have a child for each of `counts` enqueue that many tasks."""
        children = self._children[: len(counts)]
        for child, count in zip(children, counts, strict=True):
            assert child.stdin is not None
            child.stdin.write(f"{count} {per_second}\n")
            child.stdin.flush()
        spans = []
        for child in children:
            assert child.stdout is not None
            words = child.stdout.readline().split()
            if not words:
                raise RuntimeError("a client ended early; its words are above")
            spans.append((float(words[0]), float(words[1])))
        began, ended = min(span[0] for span in spans), max(span[1] for span in spans)
        return sum(counts) / (ended - began)


def shares(tasks: int, clients: int) -> list[int]:
    """How many of the tasks each client enqueues: all are enqueued, whatever the number."""
    least, more = divmod(tasks, clients)
    return [least + (number < more) for number in range(clients)]


def _end(child: "subprocess.Popen[str]") -> None:
    child.kill()
    child.communicate()


def measure_peer(
    bench: Bench, stub: Stub, peer: Peer, commands: Path, notes: list[str]
) -> dict[str, float]:
    """The figures of a peer. Those that could not be taken are missing, and `notes` say why."""
    figures: dict[str, float] = {}
    with ExitStack() as stack:
        store = stack.enter_context(peer.store(bench.fresh()))
        paths = {"PATH": f"{commands}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        env = {**os.environ, **paths, **store, "MODEL_PORT": str(stub.port)}
        if peer.setup:
            subprocess.run(peer.setup, check=True, env=env, cwd=ROOT)
        clients = Enqueuers(str(commands / "python"), peer.module, env, stack)
        backlog = CLIENTS  # of the first request of each
        for workers, name in ((MANY, DRAINED_BY_MANY), (FEW, DRAINED_BY_FEW)):
            figures[ENQUEUED] = clients.enqueue(bench.tasks)
            command = peer.worker(workers, env)
            worker_env = {**env, "WORKERS": str(workers)}
            with stores.running(command, bench.folder / "worker.log", worker_env):
                try:
                    figures[name] = _drained(stub, backlog + bench.tasks)
                    if workers == FEW:
                        figures[PICKUP] = _picked_up(stub, clients)
                except TimeoutError as late:
                    notes.append(f"{PICKUP if name in figures else name}: {late}")
                    break  # what it has not done would be counted with the next figure
            backlog = 0
    stub.reset()
    return figures


def measure_ours(bench: Bench, stub: Stub) -> dict[str, float]:
    figures = {EMBEDDED: embedded_submits(bench.fresh(), 16, bench.tasks)["a second"]}
    env = {**os.environ, "MODEL_PORT": str(stub.port)}
    for workers, name in ((MANY, DRAINED_BY_MANY), (FEW, DRAINED_BY_FEW)):
        with (
            paused_server(bench.fresh(), model_url=stub.url, workers=workers) as server,
            ExitStack() as stack,
        ):
            env["QUEUE"] = server.url
            clients = Enqueuers(sys.executable, "on_ours", env, stack)
            figures[OVER_HTTP] = load.closed_loop(server.port, POST, 64, bench.tasks)["a second"]
            if workers == FEW:
                figures[ENQUEUED] = clients.enqueue(bench.tasks // 2)
            stored = server.get("/api/status")["total_tasks"]
            server.post("/api/resume")
            figures[name] = _drained(stub, stored)
            if workers == FEW:
                figures[PICKUP] = _picked_up(stub, clients)
    return figures


def _drained(stub: Stub, tasks: int) -> float:
    """The rate from the first to the last call that the model server receives."""
    books = stub.await_calls(tasks, timeout_s=PATIENCE_S)
    stub.reset()
    spent_s = float(books["last_ns"] - books["first_ns"]) / 1e9
    return (tasks - 1) / spent_s


def _picked_up(stub: Stub, clients: Enqueuers) -> float:
    time.sleep(IDLE_S)
    stub.reset()
    clients.enqueue_at_a_pace(PICKUPS)
    heard = stub.await_calls(PICKUPS, timeout_s=PATIENCE_S)["heard_after_ns"]
    stub.reset()
    return percentiles_ms(heard)["p50 ms"]


# --- all of them --------------------------------------------------------------------------------


def add_pair(
    name: str, ours: dict[str, float], theirs: dict[str, float], ratios: Rows, figures: Rows
) -> None:
    """Add the figures of a peer and of ours, taken in turn, and how many times better ours is."""
    for unit, counterpart in COUNTERPARTS.items():
        if counterpart in theirs:
            better = ours[unit] / theirs[counterpart]
            if unit == PICKUP:
                better = 1 / better
            ratios.setdefault((f"ours to {name}", unit), Row(BARS.get(unit))).add(better, {})
        figures.setdefault(("ours", unit), Row()).add(ours[unit], {})
    for unit, value in theirs.items():
        figures.setdefault((name, unit), Row()).add(value, {})


def installed_versions() -> str:
    """Install what is missing; the versions of the peers and of their stores."""
    installed()
    return versions()


def compare(bench: Bench, names: Sequence[str]) -> tuple[Rows, Rows, list[str]]:
    """How many times better ours is than each of these peers, the figures of all, and what a peer
    has not done in time, or at all: its figure is left out, and the others are taken."""
    ratios: Rows = {}
    figures: Rows = {}
    notes: list[str] = []
    commands = installed()
    with Stub(bench.folder / "stub.log") as stub:
        for name in [*names] * bench.runs:
            ours = measure_ours(bench, stub)
            failed: list[str] = []
            try:
                theirs = measure_peer(bench, stub, PEERS[name], commands, failed)
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                theirs = {}
                failed.append(str(error))
            if failed:
                notes += [f"{name}, {note}" for note in failed]
                print(f"{name}: {'; '.join(failed)}\n{_log_of(bench)}", file=sys.stderr)
            add_pair(name, ours, theirs, ratios, figures)
    return ratios, figures, notes


def _log_of(bench: Bench) -> str:
    """The last words of a peer's worker."""
    log = bench.folder / "worker.log"
    return log.read_text()[-500:] if log.exists() else ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--runs", type=int, default=1, help="rounds (1)")
    parser.add_argument("--tasks", type=int, default=5_000, help="in each drain (5,000)")
    given = parser.parse_args()
    unknown = set(given.names) - set(PEERS)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    with Bench(runs=given.runs, quick=False, full=False, tasks=given.tasks) as bench:
        print(f"{machine(bench.folder)}. {installed_versions()}.\n", flush=True)
        ratios, figures, notes = compare(bench, given.names or list(PEERS))
        for rows in (ratios, figures):
            print("\n".join(as_markdown(rows)), end="\n\n")
        print("\n".join(f"Not measured: {note}." for note in notes))


if __name__ == "__main__":
    main()
