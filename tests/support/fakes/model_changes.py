"""Requests that change a fake Ollama's models: what it received of each, and how it reports."""

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

KEPT = 1 << 20  # bytes of a body that are kept


@dataclass(frozen=True)
class Change:
    """One received request. `body` is its JSON, None for anything else."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    size: int
    sha256: str
    body: Any


@dataclass(frozen=True)
class Lines:
    """A report of progress; before the line at `gate_at` it waits for the gate."""

    lines: Sequence[dict[str, Any] | bytes]
    then: str = "end"  # or "cut", "hang"
    gate: threading.Event | None = None
    gate_at: int = 1
    status: int = 200


def read_body(handler: BaseHTTPRequestHandler) -> Change:
    """Read a request's body, sized or in chunks, without keeping a large one."""
    headers = {name.lower(): value for name, value in handler.headers.items()}
    digest, kept, size = hashlib.sha256(), b"", 0
    for piece in _pieces(handler, headers):
        digest.update(piece)
        size += len(piece)
        if size <= KEPT:
            kept += piece
    try:
        body = json.loads(kept)
    except ValueError:
        body = None
    return Change(handler.command, handler.path, headers, size, digest.hexdigest(), body)


def _pieces(handler: BaseHTTPRequestHandler, headers: dict[str, str]) -> Any:
    if headers.get("transfer-encoding") != "chunked":
        yield handler.rfile.read(int(headers.get("content-length", 0)))
        return
    while size := int(handler.rfile.readline(), 16):
        yield handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()
