"""What work costs a process: the instructions it executes, or its processor time.

Neither depends much on what else the machine does. Instructions vary less, but virtual machines
often do not count them.
"""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from benchmarks.processes import cpu_s


class Cost:
    """The cost of some work, known when it is over."""

    value = 0.0


class Meter(Protocol):
    unit: str  # of the costs; what a cost of 1e-6 is called

    def process(self, pid: int) -> AbstractContextManager[Cost]:
        """A context whose value is the cost of what the process and its threads do meanwhile."""

    def command(self, argv: Sequence[str], env: Mapping[str, str] | None, folder: Path) -> float:
        """Run a command in a folder, to its end. Returns its cost."""


class ProcessorTime:
    """Costs in seconds of processor time."""

    unit = "µs"

    @contextmanager
    def process(self, pid: int) -> Iterator[Cost]:
        cost, before = Cost(), cpu_s(pid)
        yield cost
        cost.value = cpu_s(pid) - before

    def command(self, argv: Sequence[str], env: Mapping[str, str] | None, folder: Path) -> float:
        child = subprocess.Popen(argv, env=env, cwd=folder)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        _check(child.returncode, argv)
        return used.ru_utime + used.ru_stime


class PerfEvents:
    """Costs in millions of an event that `perf stat` counts."""

    unit = "instructions"

    def __init__(self, event: str = "instructions") -> None:
        self.event = event

    @contextmanager
    def process(self, pid: int) -> Iterator[Cost]:
        cost = Cost()
        with tempfile.TemporaryDirectory() as folder:
            control, ack, out = (Path(folder) / name for name in ("control", "ack", "out"))
            os.mkfifo(control)
            os.mkfifo(ack)
            options = ["-p", str(pid), "-D", "-1", "--control", f"fifo:{control},{ack}"]
            perf = subprocess.Popen(self._perf(out, options), stderr=subprocess.DEVNULL)
            try:
                with control.open("w") as say, ack.open() as hear:
                    say.write("enable\n")
                    say.flush()
                    hear.readline()
                    yield cost
                    perf.send_signal(signal.SIGINT)
                    perf.wait(30)
            finally:
                perf.kill()
                perf.wait()
            cost.value = self.count(out)

    def command(self, argv: Sequence[str], env: Mapping[str, str] | None, folder: Path) -> float:
        with tempfile.TemporaryDirectory() as made:
            out = Path(made) / "out"
            done = subprocess.run(self._perf(out, ["--", *argv]), env=env, cwd=folder)
            _check(done.returncode, argv)
            return self.count(out)

    def is_counted(self) -> bool:
        """Whether `perf` is there and this machine counts the event."""
        try:
            return self.command(["true"], None, Path.cwd()) > 0
        except (OSError, ValueError, subprocess.CalledProcessError):
            return False

    def _perf(self, out: Path, rest: Sequence[str]) -> list[str]:
        return ["perf", "stat", "-x", ",", "-o", str(out), "-e", self.event, *rest]

    @staticmethod
    def count(out: Path) -> float:
        """What perf has written to a file; `ValueError` for an event that is not supported."""
        lines = [line.split(",") for line in out.read_text().splitlines() if "," in line]
        return sum(float(fields[0]) for fields in lines) / 1e6


def _check(status: int, argv: Sequence[str]) -> None:
    if status:
        raise subprocess.CalledProcessError(status, argv)


def best_meter() -> Meter:
    instructions = PerfEvents()
    return instructions if instructions.is_counted() else ProcessorTime()
