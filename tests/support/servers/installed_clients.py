"""Third-party Python packages that are tested with the queue, in a separate environment.

They are installed into `build/clients` when a test first needs them, with a hundred packages that
the project itself does not depend on. For npm packages see `.dev/node_packages.py`.
"""

import fcntl
import subprocess
import sys
import venv
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / ".dev"))

from node_packages import installed as node_folder  # noqa: E402

__all__ = ["node_folder", "python"]

FOLDER = ROOT / "build" / "clients"
AGENTS = ("litellm==1.110.2", "llama-index-llms-ollama==0.11.0")


@cache
def python() -> Path:
    """A Python with `AGENTS` installed. Of parallel tests one installs, the others wait."""
    home, now = FOLDER / "python", "\n".join(AGENTS)
    stamp = home / ".installed"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "python.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != now:
            venv.create(home, with_pip=True, clear=True)
            pip: list[str | Path] = [home / "bin" / "python", "-m", "pip", "install", "-q"]
            subprocess.run([*pip, "--disable-pip-version-check", *AGENTS], check=True)
            stamp.write_text(now)
    return home / "bin" / "python"
