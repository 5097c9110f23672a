"""A WebSocket that a test controls, without a connection."""

import json
import threading
from queue import SimpleQueue
from typing import Any


class Socket:
    """Records `sent`, serves `received`; sending waits for `may_send`."""

    def __init__(self) -> None:
        self.sent: SimpleQueue[Any] = SimpleQueue()
        self.received: SimpleQueue[str | None] = SimpleQueue()
        self.closed: SimpleQueue[int] = SimpleQueue()
        self.may_send = threading.Event()
        self.may_send.set()
        self.sending = threading.Event()

    def send(self, *messages: bytes) -> None:
        self.sending.set()
        assert self.may_send.wait(10)
        for message in messages:
            self.sent.put(json.loads(message))

    def ping(self) -> None:
        self.sent.put("ping")

    def receive(self) -> str | None:
        return self.received.get(timeout=20)

    def close(self, code: int = 1000, message: str = "") -> None:
        self.closed.put(code)
        self.received.put(None)
