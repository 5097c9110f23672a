"""The HTTP server over a queue whose submit returns at once.

`python -m benchmarks.programs.door --port N`.
"""

import argparse
import gc
import socket
import sys
from typing import Any, cast

import gevent.event

from ollama_queue.actors.core.model.tasks import Status, Submitted
from ollama_queue.http.serving.app import create_app
from ollama_queue.http.serving.guard import Guard
from ollama_queue.http.serving.http_server import HttpServer
from ollama_queue.http.serving.hub_watch import HubWatch

ANSWER = Submitted("01a20000-0000-7000-8000-000000000000", Status.PENDING, 1, True)


class InstantQueue:
    """Takes every task, and keeps none."""

    def __init__(self) -> None:
        self.yield_control = HubWatch().yield_control

    def submit(self, new: Any, *, idempotency_key: str | None = None) -> Submitted:
        return ANSWER

    def __getattr__(self, verb: str) -> Any:
        """The other verbs: never called."""
        return lambda *_, **__: None


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    listener = socket.create_server(("127.0.0.1", parser.parse_args().port), backlog=1024)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)
    queue = InstantQueue()
    app = create_app(cast(Any, queue), guard=Guard(loopback_only=True))
    server = HttpServer([listener], app, yield_control=queue.yield_control)
    server.start()
    gc.freeze()
    sys.setswitchinterval(0.0002)  # as in the server
    gevent.event.Event().wait()
