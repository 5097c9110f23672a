"""The programs of others that are tried before the queue, in an environment of their own.

They are installed when a test first asks for them, into `build/clients`: they bring a hundred
packages that the project itself is to know nothing of. Of tests that run side by side one installs,
and the others wait for it.
"""

import fcntl
import shutil
import subprocess
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[3] / "build" / "clients"
AGENTS = ("litellm==1.110.2", "llama-index-llms-ollama==0.11.0")
PACKAGES = ("ollama@0.6.4", "openai@6.10.0")


@cache
def python() -> Path:
    """A Python that has `AGENTS`."""
    home = FOLDER / "python"
    with missing(home, AGENTS) as packages:
        if packages:
            venv.create(home, with_pip=True, clear=True)
            pip: list[str | Path] = [home / "bin" / "python", "-m", "pip", "install", "-q"]
            subprocess.run([*pip, "--disable-pip-version-check", *packages], check=True)
    return home / "bin" / "python"


@cache
def node_folder(name: str = "node", packages: Sequence[str] = PACKAGES) -> Path:
    """A folder whose scripts find `packages`. Raises `FileNotFoundError` where there is no npm."""
    home = FOLDER / name
    with missing(home, packages) as to_install:
        if to_install:
            if shutil.which("npm") is None:
                raise FileNotFoundError("npm")
            options = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]
            command = ["npm", "install", *options, "--loglevel=error", "--prefix", str(home)]
            subprocess.run([*command, *to_install], check=True, stdout=subprocess.DEVNULL)
    return home


@contextmanager
def missing(home: Path, packages: Sequence[str]) -> Iterator[Sequence[str]]:
    """Those to install into the folder: all or none. They are there once the block has ended."""
    stamp, now = home / ".installed", "\n".join(packages)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == now:
            yield ()
            return
        home.mkdir(exist_ok=True)
        yield packages
        stamp.write_text(now)
