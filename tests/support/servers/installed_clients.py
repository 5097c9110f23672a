"""The programs of others that are tried before the queue, in an environment of their own.

They are installed when a test first asks for them, into `build/clients`: they bring a hundred
packages that the project itself is to know nothing of.
"""

import shutil
import subprocess
import venv
from collections.abc import Sequence
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[3] / "build" / "clients"
AGENTS = ("litellm==1.110.2", "llama-index-llms-ollama==0.11.0")
PACKAGES = ("ollama@0.6.4", "openai@6.10.0")


@cache
def python() -> Path:
    """A Python that has `AGENTS`."""
    home, stamp = FOLDER / "python", FOLDER / "python" / ".installed"
    if not stamp.exists() or stamp.read_text() != "\n".join(AGENTS):
        venv.create(home, with_pip=True, clear=True)
        pip = [home / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, *AGENTS], check=True)
        stamp.write_text("\n".join(AGENTS))
    return home / "bin" / "python"


@cache
def node_folder(name: str = "node", packages: Sequence[str] = PACKAGES) -> Path:
    """A folder whose scripts find `packages`. Raises `FileNotFoundError` where there is no npm."""
    home, stamp = FOLDER / name, FOLDER / name / ".installed"
    if not stamp.exists() or stamp.read_text() != "\n".join(packages):
        if shutil.which("npm") is None:
            raise FileNotFoundError("npm")
        home.mkdir(parents=True, exist_ok=True)
        options = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        command = ["npm", "install", *options, "--prefix", str(home), *packages]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        stamp.write_text("\n".join(packages))
    return home
