"""Measures the figures of docs/performance.md, and fills its tables and its plot with them.

`make performance`, or `python -m benchmarks.performance [PART…] [--runs N] [--no-peers]`. On a
quiet machine with two cores it takes some twenty minutes.
"""

import argparse
import datetime
import importlib
import os
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.growth import CPU
from benchmarks.harness import Bench, Row, Rows, as_markdown, machine, shown
from benchmarks.peers.__main__ import PEERS, compare, installed_versions
from benchmarks.processes import ROOT

DOCUMENT = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "performance" / "growth.svg"
PARTS = ("streams", "submits", "drain", "pickup", "growth", "memory", "fleet")
PER_SECOND = 50  # chunks of a stream


def fill(text: str, tables: Mapping[str, str]) -> str:
    """Put each table between the marks of its name. Raises `KeyError` if a table has no marks."""
    for name, table in tables.items():
        begin, end = f"<!-- measured: {name} -->\n", "<!-- end -->"
        marked = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        parts = marked.split(text)
        if len(parts) != 2:
            raise KeyError(name)
        text = f"{begin}{table}\n{end}".join(parts)
    return text


# --- what a user notices ------------------------------------------------------------------------


class Sight(NamedTuple):
    """A line of the first table: a row of a benchmark, in a user's words."""

    words: str
    part: str
    row: tuple[str, str]
    shown: Callable[[Row], str]


def _spread(values: Sequence[float], unit: str) -> str:
    low, middle, high = shown(min(values)), shown(statistics.median(values)), shown(max(values))
    return f"{middle} {unit} ({low} … {high})" if len(values) > 1 else f"{middle} {unit}"


def _value(unit: str) -> Callable[[Row], str]:
    return lambda row: _spread(row.values, unit)


def _times(row: Row) -> str:
    """The ratio to the raw limit of the same round."""
    (ratios,) = row.ratios.values()
    return _spread(ratios, "times")


def _streams(row: Row) -> str:
    """How many streams one core feeds, from the cost of a chunk in µs."""
    return _spread([1e6 / cost / PER_SECOND for cost in row.values], "streams")


FIRST = "first byte, one stream at a time, /api/chat"
SIGHTS = (
    Sight("the first byte comes later, median", "streams", (FIRST, "p50 ms, added"), _value("ms")),
    Sight("… 99th percentile", "streams", (FIRST, "p99 ms, added"), _value("ms")),
    Sight(
        "time of a reply to that of the direct call, 48 at once",
        "streams",
        ("48 streams, /api/chat", "total ms"),
        _times,
    ),
    Sight("… 400 at once", "streams", ("400 streams, /api/chat", "total ms"), _times),
    Sight(
        f"one core feeds, at {PER_SECOND} tokens a second each",
        "streams",
        ("48 streams, /api/chat", "server CPU µs a chunk"),
        _streams,
    ),
    Sight(
        "tokens of a server without limits",
        "streams",
        ("flat out, 4 streams, /api/chat", "chunks a second"),
        _value("a second"),
    ),
    Sight(
        "… to those of the direct call",
        "streams",
        ("flat out, 4 streams, /api/chat", "chunks a second"),
        _times,
    ),
    Sight("a task reaches an idle model server", "pickup", ("HTTP", "p50 ms"), _value("ms")),
    Sight(
        "a submit is on disk and answered",
        "submits",
        ("HTTP, 1 connection", "p50 ms"),
        _value("ms"),
    ),
    Sight(
        "submits, 64 connections",
        "submits",
        ("HTTP, 64 connections", "a second"),
        _value("a second"),
    ),
    Sight(
        "tasks that take no time, 32 workers",
        "drain",
        ("drain, 32 workers", "a second"),
        _value("a second"),
    ),
    Sight(
        "start after a crash with 100,000 tasks",
        "memory",
        ("start after kill -9, 100,000 waiting", "s"),
        _value("s"),
    ),
)


def glance(measured: Mapping[str, Rows]) -> str:
    lines = ["| | median (lowest … highest) |", "|---|---|"]
    lines += [
        f"| {sight.words} | {sight.shown(measured[sight.part][sight.row])} |" for sight in SIGHTS
    ]
    return "\n".join(lines)


# --- the plot -----------------------------------------------------------------------------------


def plot(rows: Rows, path: Path) -> None:
    """Draw costs against the number of waiting tasks, from the rows of `growth`."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "growth", "svg.fonttype": "none"})
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for axes, unit, kinds in (
        (left, CPU, ("submit", "drained task")),
        (right, "p50 ms", ("page of 100", "status")),
    ):
        for kind in kinds:
            points = {
                int(what.rpartition(", ")[2].split()[0].replace(",", "")): row
                for (what, row_unit), row in rows.items()
                if row_unit == unit and what.startswith(f"{kind}, ")
            }
            medians = [row.median for row in points.values()]
            below = [row.median - min(row.values) for row in points.values()]
            above = [max(row.values) - row.median for row in points.values()]
            axes.errorbar(
                list(points), medians, yerr=[below, above], marker="o", capsize=3, label=kind
            )
        axes.set(xscale="log", xlabel="waiting tasks", ylabel=unit.replace(" each", ""))
        axes.set_ylim(bottom=0)
        axes.legend()
        axes.grid(alpha=0.3)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.performance", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these of {PARTS}")
    parser.add_argument("--runs", type=int, default=3, help="rounds per measurement (3)")
    parser.add_argument(
        "--no-peers", action="store_true", help="leave the other queues as they are"
    )
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    today = datetime.date.today().isoformat()
    measured: dict[str, Rows] = {}
    tables: dict[str, str] = {}
    with Bench(runs=given.runs, quick=False, full=False, tasks=100_000) as bench:
        where = machine(bench.folder)
        load = os.getloadavg()[2]
        conditions = f"{where}; {today}, load {load:.1f}, medians of {given.runs}."
        for part in given.parts or PARTS:
            print(f"## {part}\n")
            importlib.import_module(f"benchmarks.{part}").measure(bench)
            measured[part] = bench.tables[-1]
            lines = [conditions, ""] if given.parts else []
            tables[part] = "\n".join([*lines, *as_markdown(measured[part])])
    if given.parts:
        DOCUMENT.write_text(fill(DOCUMENT.read_text(), tables))
        return
    tables |= {"machine": conditions, "glance": glance(measured)}
    DOCUMENT.write_text(fill(DOCUMENT.read_text(), tables))
    plot(measured["growth"], PLOT)
    if not given.no_peers:
        with Bench(runs=1, quick=False, full=False, tasks=1_000) as bench:
            tables["peers: versions"] = f"{where}; {today}. {installed_versions()}."
            ratios, figures, notes = compare(bench, list(PEERS))
            tables["peers: ratios"] = "\n".join(as_markdown(ratios))
            missing = [f"\nNot measured: {note}." for note in notes]
            tables["peers: figures"] = "\n".join([*as_markdown(figures), *missing])
        DOCUMENT.write_text(fill(DOCUMENT.read_text(), tables))
    print(f"Written: {DOCUMENT.relative_to(ROOT)}, {PLOT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
