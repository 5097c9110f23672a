"""`python -m benchmarks [NAME…] [--quick] [--full] [--runs N] [--tasks N]`: runs the benchmarks."""

import argparse
import importlib
import inspect

from benchmarks import harness

NAMES = (
    "plan",
    "messages",
    "door",
    "submits",
    "drain",
    "pickup",
    "growth",
    "memory",
    "affinity",
    "listeners",
    "crowd",
    "streams",
    "fleet",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="measure once and little")
    parser.add_argument("--full", action="store_true", help="run `affinity` with realistic times")
    parser.add_argument("--runs", type=int, help="rounds per measurement (5; 1 with --quick)")
    parser.add_argument("--tasks", type=int, help="waiting tasks in `memory` (100,000)")
    given = parser.parse_args()
    unknown = set(given.names) - set(NAMES)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    runs = given.runs or (harness.ONCE if given.quick else harness.MANY)
    tasks = given.tasks or (2_000 if given.quick else 100_000)
    with harness.Bench(runs=runs, quick=given.quick, full=given.full, tasks=tasks) as bench:
        print(f"{harness.machine(bench.folder)}. Medians of {runs}.\n")
        for name in given.names or NAMES:
            module = importlib.import_module(f"benchmarks.{name}")
            print(f"## {name}\n\n{inspect.getdoc(module)}\n")
            module.measure(bench)


if __name__ == "__main__":
    main()
