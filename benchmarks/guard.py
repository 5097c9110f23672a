"""Has the last commit made anything slower? `python -m benchmarks.guard [COMMIT]`.

Compares the checkout with its parent commit, or the one named, on this machine and with the same
packages: servers of both run side by side and are given the same short loads at the same time, so
that whatever else happens disturbs both. What is compared is the processor time that a load takes
(the instructions, where `perf` counts them), never how long it takes.

A pair of loads gives a ratio. A row whose median ratio is above SUSPECT is measured again, on new
processes and in more pairs; it fails if then the median is above MEDIAN and the lower quartile
above QUARTILE. Exits with 1 then. Without the parent commit, as in a shallow clone, it compares
nothing.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks import load
from benchmarks.harness import Bench, shown
from benchmarks.meters import Meter, best_meter
from benchmarks.processes import PROGRAMS, ROOT, Stub, environment, queue_server
from benchmarks.programs.stream_readers import Readers

SUSPECT, MEDIAN, QUARTILE = 1.10, 1.15, 1.10
ROUNDS, FEWEST_ROUNDS = 10, 4
PATIENCE_S = 35.0  # fewer rounds are measured if they take longer
SOURCES = ("ollama_queue.py", "actors", "http", "cli", "static", "constraints.txt")

WORKERS = 16
SUBMITS, CONNECTIONS = 320, 64
STREAMS, PER_SECOND, STREAMED_S = 16, 50, 0.8
MOST_CHUNKS = 3_000  # the readers leave long before
PAGES = 60
EMBEDDED = 400
POST = load.request("POST", "/api/tasks", load.task_body())
PAGE = load.request("GET", "/api/tasks?limit=100")
STREAM = load.request(
    "POST",
    "/api/chat",
    load.chat_body(f"{load.WORDS} @pace={PER_SECOND}/{MOST_CHUNKS}@")[:-1] + b',"stream":true}',
)
IMPORTS = {
    "import ollama_queue": "import ollama_queue",
    "import of the server": "import ollama_queue.http.serving.serve",
}


# --- the verdict --------------------------------------------------------------------------------


class Verdict(NamedTuple):
    """What the pairs of a row say: how many times what its parent's load cost the new one costs."""

    median: float
    lower: float
    upper: float

    @property
    def is_suspect(self) -> bool:
        return self.median > SUSPECT

    @property
    def is_slower(self) -> bool:
        return self.median > MEDIAN and self.lower > QUARTILE


def judge(ratios: Sequence[float]) -> Verdict:
    """The median and the quartiles of at least two ratios."""
    lower, median, upper = statistics.quantiles(ratios, n=4, method="inclusive")
    return Verdict(median, lower, upper)


def line(name: str, pairs: Sequence[tuple[float, float]]) -> str:
    """A row: its costs before and now, and their ratio with its quartiles."""
    verdict = judge([now / before for before, now in pairs])
    before, now = (statistics.median(each) * 1e6 for each in zip(*pairs, strict=True))
    return (
        f"{name:22} {shown(before):>9} {shown(now):>9}   "
        f"{verdict.median:.2f} ({verdict.lower:.2f} … {verdict.upper:.2f}) of {len(pairs)}"
    )


# --- what is measured ---------------------------------------------------------------------------


class Subject:
    """The code of one commit, and the processes that run it."""

    def __init__(self, code: Path, bench: Bench, stack: ExitStack, meter: Meter) -> None:
        self.code, self.meter = code, meter
        self.environment = environment(code)
        self.stub = stack.enter_context(Stub(bench.folder / "stub.log"))
        folder = bench.fresh()
        self.server = stack.enter_context(
            queue_server(folder, model_url=self.stub.url, workers=WORKERS, code=code)
        )
        self.many = stack.enter_context(load.Load(self.server.port, CONNECTIONS))
        self.one = stack.enter_context(load.Load(self.server.port, 1))
        self.embedded = stack.enter_context(_embedded(code, bench.fresh()))
        self.stored = 0

    def submit(self) -> float:
        """The cost of a submit; the tasks wait."""
        self.server.post("/api/pause")
        with self.meter.process(self.server.pid) as cost:
            self.many.send(POST, SUBMITS)
        return cost.value / SUBMITS

    def drain(self) -> float:
        """The cost of a task that waits, up to its end."""
        self.stub.reset()
        self.stored += SUBMITS
        with self.meter.process(self.server.pid) as cost:
            self.server.post("/api/resume")
            self.stub.await_calls(SUBMITS)
            while self.server.get("/api/status")["completed_tasks"] < self.stored:
                time.sleep(0.01)
        return cost.value / SUBMITS

    def list(self) -> float:
        with self.meter.process(self.server.pid) as cost:
            self.one.send(PAGE, PAGES)
        return cost.value / PAGES

    def submit_embedded(self) -> float:
        assert self.embedded.stdin is not None and self.embedded.stdout is not None
        with self.meter.process(self.embedded.pid) as cost:
            self.embedded.stdin.write(f"{EMBEDDED}\n")
            self.embedded.stdin.flush()
            if not self.embedded.stdout.readline():
                raise RuntimeError("the embedded queue ended; its words are above")
        return cost.value / EMBEDDED

    def run(self, code: str) -> float:
        """The cost of a Python program."""
        return self.meter.command([sys.executable, "-c", code], self.environment, self.code)


@contextmanager
def _embedded(code: Path, folder: Path) -> "Iterator[subprocess.Popen[str]]":
    child = subprocess.Popen(
        [sys.executable, str(PROGRAMS / "embedded_submits.py"), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(code),
        cwd=code,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def _chunks(subjects: Sequence[Subject]) -> list[float]:
    """The cost of a chunk on each, while both have their streams running."""
    with ExitStack() as stack:
        readers = [
            stack.enter_context(Readers(each.server.port, STREAM, STREAMS, 0.1))
            for each in subjects
        ]
        for reader in readers:
            reader.await_begun()
        sent = [each.stub.books()["chunks"] for each in subjects]
        with ExitStack() as measured:
            costs = [
                measured.enter_context(each.meter.process(each.server.pid)) for each in subjects
            ]
            time.sleep(STREAMED_S)
        taken = [
            each.stub.books()["chunks"] - before
            for each, before in zip(subjects, sent, strict=True)
        ]
    for each in subjects:  # those whose readers have left are cancelled
        while each.server.get("/api/status")["running_tasks"]:
            time.sleep(0.01)
    return [cost.value / chunks for cost, chunks in zip(costs, taken, strict=True)]


def _together(work: Callable[[Subject], float]) -> Callable[[Sequence[Subject]], list[float]]:
    """The same work on each at the same time, so that whatever else happens disturbs both."""

    def measure(subjects: Sequence[Subject]) -> list[float]:
        with ThreadPoolExecutor(len(subjects)) as threads:
            return list(threads.map(work, subjects))

    return measure


ROWS: Mapping[str, Callable[[Sequence[Subject]], list[float]]] = {
    "submit": _together(Subject.submit),
    "drained task": _together(Subject.drain),
    "chunk of a stream": _chunks,
    "list page": _together(Subject.list),
    "embedded submit": _together(Subject.submit_embedded),
    **{name: _together(partial(Subject.run, code=code)) for name, code in IMPORTS.items()},
}
# What a round measures; the cheapest and least steady more than once. A drain runs what the submit
# before it has left.
ORDER = (
    *("submit", "drained task", "list page"),
    *("submit", "drained task", "list page"),
    *("embedded submit", "list page", "chunk of a stream", *IMPORTS),
)
NEEDS = {"drained task": "submit"}


Pairs = list[tuple[float, float]]


def measure(parent: Path, names: Iterable[str], rounds: int, meter: Meter) -> dict[str, Pairs]:
    """The costs of each row in pairs, the parent's first; each starts first in half of them."""
    wanted = {*names, *(NEEDS[name] for name in names if name in NEEDS)}
    order = [name for name in ORDER if name in wanted]
    measured: dict[str, Pairs] = {name: [] for name in ROWS if name in wanted}
    with ExitStack() as stack:
        bench = stack.enter_context(Bench(runs=rounds, quick=False, full=False, tasks=0))
        subjects = [Subject(code, bench, stack, meter) for code in (parent, ROOT)]
        for name in list(measured):
            if NEEDS.get(name, name) not in measured or not is_comparable(name, subjects):
                del measured[name]
        order = [name for name in order if name in measured]
        deadline = time.monotonic() + PATIENCE_S
        for number in range(rounds):
            if number >= FEWEST_ROUNDS and time.monotonic() > deadline:
                break
            for name in order:
                if number % 2:
                    now, before = ROWS[name](subjects[::-1])
                else:
                    before, now = ROWS[name](subjects)
                measured[name].append((before, now))
    return measured


def is_comparable(name: str, subjects: Sequence[Subject]) -> bool:
    """Measure once, to load modules and open connections; False if the older commit cannot."""
    before, now = subjects
    try:
        ROWS[name]([before])
    except (OSError, RuntimeError, LookupError, subprocess.CalledProcessError) as error:
        print(f"{name:22} not comparable: {error}")
        return False
    ROWS[name]([now])
    return True


# --- the commit to compare with -----------------------------------------------------------------


def has(commit: str) -> bool:
    """Whether the history of this checkout has the commit, with the package in it."""
    return _git("rev-parse", "-q", "--verify", f"{commit}:./ollama_queue.py").returncode == 0


def is_unchanged_since(commit: str) -> bool:
    return _git("diff", "--quiet", commit, "--", *SOURCES).returncode == 0


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A temporary folder with the files of a commit, beside the checkout."""
    with Bench(runs=0, quick=False, full=False, tasks=0) as bench:
        archive = bench.folder / "archive.tar"
        _git("archive", "-o", str(archive), commit, check=True)
        shutil.unpack_archive(archive, bench.folder / "checkout", filter="data")
        yield bench.folder / "checkout"


def _git(*arguments: str, check: bool = False) -> "subprocess.CompletedProcess[bytes]":
    if shutil.which("git") is None:
        return subprocess.CompletedProcess(arguments, 127)
    return subprocess.run(["git", *arguments], cwd=ROOT, check=check, capture_output=not check)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard", description=__doc__)
    parser.add_argument("commit", nargs="?", default="HEAD^", help="compare with this one (HEAD^)")
    given = parser.parse_args()
    if not has(given.commit):
        print(f"Nothing to compare with: the history here has no {given.commit}.")
    elif is_unchanged_since(given.commit):
        print(f"Nothing to compare: what runs is the same as in {given.commit}.")
    else:
        with checked_out(given.commit) as parent:
            sys.exit(compare(parent, given.commit))


def compare(parent: Path, commit: str) -> int:
    """Print a table, and the rows that are slower than in the parent. Returns the exit status."""
    meter = best_meter()
    print(f"{meter.unit + ' each':22} {commit[:9]:>9} {'now':>9}   ratio, median (quartiles)")
    first = _verdicts(measure(parent, ROWS, ROUNDS, meter))
    suspects = [name for name, verdict in first.items() if verdict.is_suspect]
    if not suspects:
        return 0
    print(f"Again, on new processes: {', '.join(suspects)}")
    second = _verdicts(measure(parent, suspects, 3 * ROUNDS, meter))
    slower = [name for name, verdict in second.items() if name in suspects and verdict.is_slower]
    print(f"Slower than {commit}: {', '.join(slower)}." if slower else "No slower than before.")
    return 1 if slower else 0


def _verdicts(measured: Mapping[str, Pairs]) -> dict[str, Verdict]:
    for name, pairs in measured.items():
        print(line(name, pairs), flush=True)
    return {
        name: judge([now / before for before, now in pairs]) for name, pairs in measured.items()
    }


if __name__ == "__main__":
    main()
