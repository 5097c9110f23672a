"""Runs rounds of measurements, and prints their results with the machine and its raw limits."""

import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

MANY, ONCE = 5, 1


class Bar(NamedTuple):
    """What a figure should be: at most or at least a value, or a multiple of a raw limit."""

    sign: str
    value: float
    of: str = ""

    def shown(self, median: float, ratios: dict[str, list[float]]) -> str:
        """The bar, and whether it is missed by the median of a figure, or of its ratios."""
        measured = statistics.median(ratios[self.of]) if self.of else median
        is_met = measured <= self.value if self.sign == "≤" else measured >= self.value
        limit = f" of {_bare(self.of)}" if self.of else ""
        return f"{self.sign} {shown(self.value)}{limit}{'' if is_met else ' (missed)'}"


def at_most(value: float, of: str = "") -> Bar:
    return Bar("≤", value, of)


def at_least(value: float, of: str = "") -> Bar:
    return Bar("≥", value, of)


class Sample(NamedTuple):
    """The result of one measurement.

    `figures` maps a unit, such as `p50 ms`, to a value. `against` names the raw limits measured in
    the same round: this sample's figures are divided by theirs of the same unit. `bars` maps units
    to what the figures should be on a quiet machine with two cores.
    """

    what: str
    figures: dict[str, float]
    against: tuple[str, ...] = ()
    bars: Mapping[str, Bar] = {}


Round = Callable[[], Iterable[Sample]]


class Row:
    """One figure over all rounds."""

    def __init__(self, bar: Bar | None = None) -> None:
        self.values: list[float] = []
        self.ratios: dict[str, list[float]] = {}
        self.bar = bar

    def add(self, value: float, limits: dict[str, float]) -> None:
        self.values.append(value)
        for name, limit in limits.items():
            self.ratios.setdefault(name, []).append(value / limit)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> str:
        low, high = min(self.values), max(self.values)
        return f"{shown(low)} … {shown(high)}" if len(self.values) > 1 else ""

    def cells(self) -> list[str]:
        ratios = [
            f"{shown(statistics.median(each))} of {_bare(name)}"
            for name, each in self.ratios.items()
        ]
        is_measured = self.bar is not None and (not self.bar.of or self.bar.of in self.ratios)
        bar = self.bar.shown(self.median, self.ratios) if self.bar and is_measured else ""
        return [shown(self.median), self.spread, "; ".join(ratios), bar]


def _bare(name: str) -> str:
    return name.removeprefix("raw: ")


Rows = dict[tuple[str, str], Row]


class Bench:
    """What a benchmark receives: how often and how much to measure, and a folder on the disk."""

    def __init__(self, *, runs: int, quick: bool, full: bool, tasks: int) -> None:
        self.runs, self.quick, self.full, self.tasks = runs, quick, full, tasks
        self.tables: list[Rows] = []  # those that have been measured
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
        rows: Rows = {}
        self.tables.append(rows)
        for one_round, times in rounds:
            for _ in range(times):
                gather(list(one_round()), rows)
        for line in as_markdown(rows):
            print(line)
        print(f"\nAfter: load {_load()}.\n", flush=True)


def gather(samples: Sequence[Sample], rows: Rows) -> None:
    """Add one round to the rows."""
    figures_of = {sample.what: sample.figures for sample in samples}
    for sample in samples:
        for unit, value in sample.figures.items():
            limits = {
                raw: figures_of[raw][unit]
                for raw in sample.against
                if figures_of.get(raw, {}).get(unit)
            }
            row = rows.setdefault((sample.what, unit), Row(sample.bars.get(unit)))
            row.add(value, limits)


def as_markdown(rows: Rows) -> list[str]:
    """A table; without the columns that are empty in all rows."""
    cells = [["what", "unit", "median", "min … max", "ratio, in the same run", "bar"]]
    cells += [[what, unit, *row.cells()] for (what, unit), row in rows.items()]
    columns = [
        column for column in range(6) if column < 3 or any(line[column] for line in cells[1:])
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(6)]
    rule = ["-" * (width - _is_number(i)) + ":" * _is_number(i) for i, width in enumerate(widths)]
    lines = [cells[0], rule, *cells[1:]]
    return [_line(line, widths, columns) for line in lines]


def _is_number(column: int) -> bool:
    return 2 <= column <= 3


def _line(cells: Sequence[str], widths: Sequence[int], columns: Sequence[int]) -> str:
    padded = [
        cells[i].rjust(widths[i]) if _is_number(i) else cells[i].ljust(widths[i]) for i in columns
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
