"""The same transport and executors under gevent's patches, where threads are greenlets."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TESTS = (
    "test_abort",
    "test_tls",
    "test_transport",
    "test_executor_failures",
    "test_openai_executor",
    "test_probe",
    "test_whose_answer",
)
RUN = """
from gevent import monkey

monkey.patch_all()

import sys

import pytest

sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def test_all_of_it_works_there_too() -> None:
    files = [str(HERE / f"{name}.py") for name in TESTS]

    done = subprocess.run(
        [sys.executable, "-c", RUN, *files],
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout + done.stderr
