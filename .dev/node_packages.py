"""Installs the npm packages of the checks and tests into build/node, pinned by .dev/node.

They are not shipped to users. `make lint` runs this as a script; tests import it.
"""

import fcntl
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINNED = ROOT / ".dev" / "node"
FOLDER = ROOT / "build" / "node"
OK = FOLDER / ".ok"
FILES = ("package.json", "package-lock.json")


@cache
def installed() -> Path:
    """The folder that contains `node_modules`. Raises `FileNotFoundError` without npm."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two concurrent runs the second finds it done
        if not is_current():
            if shutil.which("npm") is None:
                raise FileNotFoundError("npm was not found: apt install npm")
            OK.unlink(missing_ok=True)
            for name in FILES:
                shutil.copy(PINNED / name, FOLDER / name)
            options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            command = ["npm", "ci", *options, "--prefix", str(FOLDER)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            OK.touch()
    return FOLDER


def is_current() -> bool:
    return OK.exists() and all(
        (FOLDER / name).read_bytes() == (PINNED / name).read_bytes() for name in FILES
    )


if __name__ == "__main__":
    try:
        installed()
    except FileNotFoundError as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError as error:
        sys.exit(f"npm could not install the packages of {PINNED}: exit code {error.returncode}")
