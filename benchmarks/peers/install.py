"""Installs what the peers need: an environment of their own in build/, Redis and PostgreSQL."""

import glob
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.processes import ROOT

PINNED = Path(__file__).resolve().parent / "requirements.txt"
FOLDER = ROOT / "build" / "peers"
BIN = FOLDER / "bin"
PACKAGES = {"redis-server": "redis-server", "initdb": "postgresql"}


def installed() -> Path:
    """The folder of the peers' commands."""
    stamp = FOLDER / ".ok"
    if not stamp.exists() or stamp.read_text() != PINNED.read_text():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
        pip = [str(BIN / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", str(PINNED)], check=True)
        stamp.write_text(PINNED.read_text())
    missing = [package for name, package in PACKAGES.items() if program(name) is None]
    if missing:
        if os.geteuid() or shutil.which("apt-get") is None:
            raise SystemExit(f"Missing: apt install {' '.join(missing)}")
        subprocess.run(["apt-get", "update", "-q"], check=True)
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "install", "-q", "-y", *missing], check=True, env=quiet)
    return BIN


def program(name: str) -> str | None:
    """The path of a server program; Debian keeps PostgreSQL's out of PATH."""
    return shutil.which(name) or max(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), default=None)


def required(name: str) -> str:
    path = program(name)
    if path is None:
        raise FileNotFoundError(name)
    return path


def versions() -> str:
    """The versions of the peers and of their stores, in one sentence."""
    pinned = dict(line.split("==") for line in PINNED.read_text().split())
    names = ("celery", "rq", "dramatiq", "huey", "procrastinate", "saq")
    peers = [f"{name} {pinned[name]}" for name in names]
    stores = [_version(required(name)) for name in ("redis-server", "postgres")]
    return ", ".join([*peers, *stores])


def _version(path: str) -> str:
    done = subprocess.run([path, "--version"], check=True, capture_output=True, text=True)
    words = [word.removeprefix("v=") for word in done.stdout.split()]
    number = next(word for word in words if word[0].isdigit())
    return f"{Path(path).name} {number}"
