"""Runs rounds of measurements, and prints their results with the machine and its raw limits."""

import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

MANY, ONCE = 5, 1


class Sample(NamedTuple):
    """The result of one measurement.

    `figures` maps a unit, such as `p50 ms`, to a value. `against` names the raw limits measured in
    the same round: this sample's figures are divided by theirs of the same unit.
    """

    what: str
    figures: dict[str, float]
    against: tuple[str, ...] = ()


Round = Callable[[], Iterable[Sample]]


class Row:
    """One figure over all rounds."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.ratios: dict[str, list[float]] = {}

    def add(self, value: float, limits: dict[str, float]) -> None:
        self.values.append(value)
        for name, limit in limits.items():
            self.ratios.setdefault(name, []).append(value / limit)

    def cells(self) -> list[str]:
        low, high = min(self.values), max(self.values)
        spread = f"{shown(low)} … {shown(high)}" if len(self.values) > 1 else ""
        ratios = [
            f"{shown(statistics.median(each))} of {name.removeprefix('raw: ')}"
            for name, each in self.ratios.items()
        ]
        return [shown(statistics.median(self.values)), spread, "; ".join(ratios)]


class Bench:
    """What a benchmark receives: how often and how much to measure, and a folder on the disk."""

    def __init__(self, *, runs: int, quick: bool, full: bool, tasks: int) -> None:
        self.runs, self.quick, self.full, self.tasks = runs, quick, full, tasks
        self._folders = 0

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix=".bench-", dir=os.getcwd()))
        # Child processes find compiled modules, as in an installed package.
        os.environ["PYTHONPYCACHEPREFIX"] = str(self.folder / "compiled")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def fresh(self) -> Path:
        """Create a new empty folder."""
        self._folders += 1
        folder = self.folder / f"{self._folders}"
        folder.mkdir()
        return folder

    def table(self, rounds: Sequence[tuple[Round, int]]) -> None:
        """Run each of `rounds` its number of times, and print one table of the results."""
        speed = appends_per_s(self.folder, 0.1 if self.quick else 1.0)
        print(f"Before: load {_load()}, {shown(speed)} synced appends a second.\n", flush=True)
        rows: dict[tuple[str, str], Row] = {}
        for one_round, times in rounds:
            for _ in range(times):
                gather(list(one_round()), rows)
        for line in as_markdown(rows):
            print(line)
        print(f"\nAfter: load {_load()}.\n", flush=True)


def gather(samples: Sequence[Sample], rows: dict[tuple[str, str], Row]) -> None:
    """Add one round to the rows."""
    figures_of = {sample.what: sample.figures for sample in samples}
    for sample in samples:
        for unit, value in sample.figures.items():
            limits = {
                raw: figures_of[raw][unit]
                for raw in sample.against
                if figures_of.get(raw, {}).get(unit)
            }
            rows.setdefault((sample.what, unit), Row()).add(value, limits)


def as_markdown(rows: dict[tuple[str, str], Row]) -> list[str]:
    cells = [["what", "unit", "median", "min … max", "ratio, in the same run"]]
    cells += [[what, unit, *row.cells()] for (what, unit), row in rows.items()]
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    lines = [_line(line, widths) for line in cells]
    rule = ["-" * (width - (2 <= i <= 3)) + ":" * (2 <= i <= 3) for i, width in enumerate(widths)]
    return [lines[0], _line(rule, widths), *lines[1:]]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.rjust(width) if 2 <= column <= 3 else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"


def shown(value: float) -> str:
    """Format with three digits: more would suggest a precision that a shared machine lacks."""
    if abs(value) >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def percentiles_ms(latencies_ns: Sequence[int]) -> dict[str, float]:
    """The figures `p50 ms` and `p99 ms` of latencies."""
    ordered = sorted(latencies_ns)
    last = len(ordered) - 1
    return {f"p{percent} ms": ordered[last * percent // 100] / 1e6 for percent in (50, 99)}


# --- the machine --------------------------------------------------------------------------------


def machine(folder: Path) -> str:
    """Describe the machine in one sentence."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return (
        f"{_cpu()}, {len(os.sched_getaffinity(0))} cores; {python}; {platform.system()} "
        f"{platform.release()}; data on {_filesystem(folder)}"
    )


def appends_per_s(folder: Path, seconds: float) -> float:
    """How many sequential 512-byte appends the disk makes durable per second (fdatasync)."""
    path = folder / "appends"
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        began, count = time.perf_counter(), 0
        while (spent := time.perf_counter() - began) < seconds:
            os.write(file, b"x" * 512)
            os.fdatasync(file)
            count += 1
        return count / spent
    finally:
        os.close(file)
        path.unlink()


def _load() -> str:
    return " ".join(f"{load:.1f}" for load in os.getloadavg())


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem(folder: Path) -> str:
    """The type of `folder`'s file system: that of the longest mount point above it."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    above = [
        (len(point), kind) for _, point, kind, *_ in mounts if folder.is_relative_to(Path(point))
    ]
    return max(above)[1] if above else "an unknown file system"
