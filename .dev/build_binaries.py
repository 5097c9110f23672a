"""`make binary`: dist/ollama-queue-server and dist/ollama-queue, single files that need no Python.

The wheel is installed into a separate environment under build/binary, and PyInstaller builds the
two files from it. Does nothing if nothing has changed.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "binary"
VENV = WORK / "venv"
DIST = ROOT / "dist"
STAMP = WORK / "stamp"

NEEDS = ("pyproject.toml", "constraints.txt")
SOURCES = ("ollama_queue.py", "hatch_build.py", ".dev/build_binaries.py")
ROOMS = ("actors", "http", "cli", "static", ".dev/binary")

# httpx._main is httpx's command line, which depends on rich.
UNUSED = ("tkinter", "setuptools", "test", "httpx._main", "pygments", "anyio")
SERVER_ONLY = ("ollama_queue.actors.embedded.manager", "gevent", "rocksdict")
# Per program: its entry point, its options, and the modules it does not need. PyInstaller follows
# every import, including those in functions and under TYPE_CHECKING.
PROGRAMS = {
    "ollama-queue-server": ("server.py", ["--collect-data=ollama_queue"], ("ollama_queue.cli",)),
    "ollama-queue": ("cli.py", [], SERVER_ONLY),
}


def run(*command: str | Path) -> None:
    """Run a command; show its output only if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        words = " ".join(map(str, command))
        sys.exit(f"{done.stdout.strip()}\n`{words}` failed.")


def sources() -> Iterator[Path]:
    yield from (ROOT / name for name in (*NEEDS, *SOURCES))
    for room in ROOMS:
        files = (ROOT / room).rglob("*")
        yield from (f for f in sorted(files) if f.is_file() and "__pycache__" not in f.parts)


def digest(files: Iterator[Path]) -> str:
    """A hash of the files' contents and the Python version."""
    known = hashlib.sha256(sys.version.encode())
    for file in files:
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        known.update(f"{file.relative_to(ROOT)} {content}\n".encode())
    return known.hexdigest()


def says(stamp: Path, value: str) -> bool:
    return stamp.exists() and stamp.read_text() == value


def install() -> None:
    """Install the package's dependencies and the package itself into the environment."""
    pip = (VENV / "bin/python", "-m", "pip", "--disable-pip-version-check", "-q", "install")
    wheels = WORK / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    build = ("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", wheels, ROOT)
    run(sys.executable, *build)
    (wheel,) = wheels.glob("*.whl")
    stamp, needs = VENV / "stamp", digest(ROOT / name for name in NEEDS)
    if not says(stamp, needs):
        run(sys.executable, "-m", "venv", "--clear", VENV)
        wanted = f"ollama-queue[binary] @ {wheel.as_uri()}"
        run(*pip, "-c", ROOT / "constraints.txt", wanted)
        stamp.write_text(needs)
    run(*pip, "--no-deps", "--force-reinstall", wheel)


def build(name: str) -> subprocess.Popen[bytes]:
    """Start PyInstaller for one program; its output goes to a log file."""
    entry, options, unused = PROGRAMS[name]
    folder = WORK / name
    folder.mkdir(exist_ok=True)
    command: list[str | Path] = [VENV / "bin/pyinstaller", "--noconfirm", "--onefile", "--strip"]
    command += [f"--name={name}", f"--specpath={folder}", f"--workpath={folder}"]
    command += [f"--distpath={folder / 'dist'}", *options]
    command += [f"--exclude-module={module}" for module in (*UNUSED, *unused)]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [*command, ROOT / ".dev/binary" / entry],
            cwd=folder,  # away from the checkout, whose modules are not the installed ones
            env={**os.environ, "PYINSTALLER_CONFIG_DIR": str(folder / "cache")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def publish(name: str, code: int) -> None:
    """Move the file into place atomically: a running program is not disturbed."""
    log = WORK / name / "log"
    if code != 0:
        last = log.read_text(errors="replace").splitlines()[-12:]
        sys.exit("\n".join([*last, f"PyInstaller could not make {name}: see {log}"]))
    DIST.mkdir(exist_ok=True)
    (WORK / name / "dist" / name).replace(DIST / name)


def check_tools() -> None:
    for tool in ("objdump", "strip"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} was not found, and PyInstaller needs it: apt install binutils")


def main() -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    with (WORK / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two concurrent builds the second finds the work done
        now = digest(sources())
        if not (says(STAMP, now) and all((DIST / name).exists() for name in PROGRAMS)):
            check_tools()
            STAMP.unlink(missing_ok=True)
            install()
            running = {name: build(name) for name in PROGRAMS}
            codes = {name: process.wait() for name, process in running.items()}
            for name, code in codes.items():
                publish(name, code)
            STAMP.write_text(now)
    for name in PROGRAMS:
        file = DIST / name
        print(f"{file.relative_to(ROOT)}  {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
