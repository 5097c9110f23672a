"""What work costs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.meters import PerfEvents, ProcessorTime

WORK = "for number in range(200_000): pass"


def test_a_command_costs_its_processor_time() -> None:
    cost = ProcessorTime().command([sys.executable, "-c", WORK], None, Path.cwd())

    assert cost > 0


def test_a_command_that_fails_has_no_cost() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        ProcessorTime().command([sys.executable, "-c", "raise SystemExit(3)"], None, Path.cwd())


def test_a_process_costs_what_it_does_meanwhile() -> None:
    meter = ProcessorTime()
    with meter.process(os.getpid()) as working:
        exec(WORK)
    with meter.process(os.getpid()) as resting:
        pass

    assert working.value > 2 * resting.value > 0


def test_the_counts_of_perf_are_added_up(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("# started on …\n\n3000000,,instructions:u,1,100.00,,\n500000,,x,1,100.00,,\n")

    assert PerfEvents.count(out) == 3.5


def test_an_event_that_the_machine_does_not_count_is_not_used(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("<not supported>,,instructions,0,100.00,,\n")

    with pytest.raises(ValueError, match="not supported"):
        PerfEvents.count(out)
