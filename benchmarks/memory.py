"""How much memory does a server use, how soon is it ready, and how fast is the CLI?"""

import importlib.util
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import load
from benchmarks.harness import Bench, Sample, at_most
from benchmarks.processes import paused_server, queue_server

POST = load.request("POST", "/api/tasks", load.task_body())
PASS, IMPORTS = "raw: python -c pass", "raw: importing the server's packages"
PACKAGES = (
    "from gevent import monkey; monkey.patch_all(); import gevent.pywsgi, bottle, click, httpx, "
    "msgspec, pykka, rocksdict, sortedcontainers"
)
CLI = "from ollama_queue.cli.start import main; main()"


def measure(bench: Bench) -> None:
    killed = bench.fresh()
    rounds = partial(_round, bench, killed)
    bench.table([(partial(_fill, killed, bench.tasks), 1), (rounds, bench.runs)])


def _fill(folder: Path, tasks: int) -> Iterator[Sample]:
    """Submit tasks over HTTP and kill the server: the folder is as after a crash."""
    with paused_server(folder) as server:
        load.closed_loop(server.port, POST, 64, tasks)
        figures = {"resident MiB": server.resident_mib}
        _cli("list", "--server", server.url)  # compiles its modules
    yield Sample(f"server that has accepted {tasks:,} tasks (once)", figures)


def _round(bench: Bench, killed: Path) -> Iterator[Sample]:
    empty = _seconds("-c", "pass")
    yield Sample(PASS, {"s": empty})
    yield Sample(IMPORTS, {"s": _seconds("-c", PACKAGES)})
    added = {"added s": _seconds("-c", "import ollama_queue") - empty}
    yield Sample("import ollama_queue", added, bars={"added s": at_most(0.02)})
    raws = (PASS, IMPORTS)
    with queue_server(bench.fresh()) as server:
        figures = {"s": server.ready_s, "resident MiB": server.resident_mib}
        yield Sample("start to ready, empty folder", figures, raws, {"s": at_most(0.5)})
    folder = bench.fresh()
    shutil.copytree(killed, folder, dirs_exist_ok=True)
    with queue_server(folder) as server:
        figures = {"s": server.ready_s, "resident MiB": server.resident_mib}
        if server.get("/api/status")["pending_tasks"] < bench.tasks:
            raise RuntimeError("tasks were lost")
        what = f"start after kill -9, {bench.tasks:,} waiting"
        yield Sample(what, figures, raws, {"s": at_most(0.8)})
        yield Sample("CLI --help", _cli("--help"), (PASS,), {"s": at_most(0.12)})
        listing = _cli("list", "--server", server.url)
        yield Sample("CLI list", listing, (PASS,), {"s": at_most(0.3)})
    shutil.rmtree(folder)


def _cli(*arguments: str) -> dict[str, float]:
    """Time a CLI command; no figures if the CLI is not installed."""
    if importlib.util.find_spec("ollama_queue.cli.start") is None:
        return {}
    return {"s": _seconds("-c", CLI, *arguments)}


def _seconds(*options: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *options], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began
