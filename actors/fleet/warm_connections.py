"""Connections to other servers that nothing uses just now, to be used again."""

import threading
import time
from collections import deque

from ..base.receiver import MakeReceiver, PlainReceiver
from ..executors.transport import ConnectionTransport

IDLE_S = 30.0  # of a connection; the other server closes it after 75 s
MOST_IDLE = 64


class WarmConnections:
    """Safe in any thread. `silence_s` is the longest wait for a byte."""

    def __init__(self, silence_s: float, make_receiver: MakeReceiver = PlainReceiver) -> None:
        self._silence_s, self._make_receiver = silence_s, make_receiver
        self._lock = threading.Lock()
        self._idle: deque[tuple[float, str, ConnectionTransport]] = deque()

    def borrow(self, url: str) -> ConnectionTransport:
        """One that is not in use, or one that is opened when it is used; give it back."""
        found = None
        oldest = time.monotonic() - IDLE_S
        with self._lock:
            for _ in range(len(self._idle)):
                since, to, transport = self._idle.popleft()
                if to == url and since > oldest and found is None:
                    found = transport
                elif since > oldest:
                    self._idle.append((since, to, transport))
                else:
                    transport.close()
        if found is None:
            found = ConnectionTransport(self._silence_s, make_receiver=self._make_receiver)
        found.begin()
        return found

    def close(self) -> None:
        """Close those that are not in use."""
        with self._lock:
            while self._idle:
                self._idle.popleft()[2].close()

    def give_back(self, url: str, transport: ConnectionTransport) -> None:
        with self._lock:
            self._idle.append((time.monotonic(), url, transport))
            if len(self._idle) > MOST_IDLE:
                self._idle.popleft()[2].close()
