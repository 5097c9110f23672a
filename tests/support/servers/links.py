"""Networks of tests: a TCP proxy that is cut, slow, or loses answers."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Self

_PIECE = 1 << 20  # bytes
_READY = b"Z\x00\x00\x00\x05"  # PostgreSQL has carried out all that it was sent


class Link:
    """A way to an address, at a loopback port of its own; a context manager.

    What is cut loses nothing that TCP would send again: it stands still, and goes on after `heal`.
    As with a network that is cut, neither end is told. After `heal(forgets=True)` the connections
    of before stay silent for ever, as those do whose firewall has lost its table.
    """

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._open = threading.Event()
        self._open.set()
        self._over = threading.Event()
        self._connections: list[_Connection] = []
        self.delay_s = 0.0  # of each answer
        self.bytes_per_s = 0.0  # each way; 0: as fast as it can
        self.loses: Callable[[str], bool] = lambda statement: False  # the answer of this statement
        self.asked: list[bytes] = []  # what went there, and what came back, as it was carried
        self.answered: list[bytes] = []
        self.swallows: Callable[[bytes], bool] = lambda asked: False  # the answer to this

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._open.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()

    def cut(self) -> None:
        self._open.clear()

    def heal(self, *, forgets: bool = False) -> None:
        if forgets:
            for connection in self._connections:
                connection.is_forgotten = True
        self._open.set()

    def reset(self) -> None:
        """Close all connections, which both ends notice."""
        connections, self._connections = self._connections, []
        for connection in connections:
            connection.close()

    def passes(self, connection: "_Connection") -> bool:
        """Wait while the link is cut. False if nothing passes here any more."""
        self._open.wait()
        return not (self._over.is_set() or connection.is_forgotten)

    def pause(self, size: int, is_answer: bool) -> None:
        """Take as long as so many bytes take."""
        seconds = size / self.bytes_per_s if self.bytes_per_s else 0.0
        seconds += self.delay_s if is_answer else 0.0
        if seconds:
            self._over.wait(seconds)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.wait()  # nobody is reached while it is cut
        try:
            server = self._connect()
        except OSError:
            client.close()
            return
        connection = _Connection(self, client, server)
        self._connections.append(connection)
        threading.Thread(target=connection.carry_answers, daemon=True).start()
        connection.carry_requests()


class _Connection:
    def __init__(self, link: Link, client: socket.socket, server: socket.socket) -> None:
        self._link, self._client, self._server = link, client, server
        self._statements = _Statements()
        self._is_losing = self._is_swallowing = False
        self.is_forgotten = False

    def close(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def carry_requests(self) -> None:
        for data in self._received(self._client):
            self._link.pause(len(data), is_answer=False)
            if not self._link.passes(self):
                return
            if any(self._link.loses(each) for each in self._statements.executed(data)):
                self._is_losing = True
            self._link.asked.append(data)
            self._is_swallowing = self._is_swallowing or self._link.swallows(data)
            self._send(self._server, data)
        self.close()

    def carry_answers(self) -> None:
        for data in self._received(self._server):
            self._link.pause(len(data), is_answer=True)
            if not self._link.passes(self):
                return
            if self._is_swallowing:
                break
            self._link.answered.append(data)
            if not self._is_losing:
                self._send(self._client, data)
            elif _READY in data:
                break
        self.close()

    def _received(self, end: socket.socket) -> Iterator[bytes]:
        with suppress(OSError):
            while data := end.recv(_PIECE):
                yield data

    def _send(self, end: socket.socket, data: bytes) -> None:
        with suppress(OSError):  # its reader finds out
            end.sendall(data)


class _Statements:
    """Reads what a client sends to PostgreSQL, without TLS."""

    def __init__(self) -> None:
        self._rest = b""
        self._has_begun = False
        self._prepared: dict[bytes, bytes] = {}

    def executed(self, data: bytes) -> list[str]:
        """The statements that were sent whole with this."""
        self._rest += data
        found: list[str] = []
        while True:
            head = 1 if self._has_begun else 0  # the first message has no type
            if len(self._rest) < head + 4:
                return found
            (length,) = struct.unpack_from("!I", self._rest, head)
            if len(self._rest) < head + length:
                return found
            kind, body = self._rest[:head], self._rest[head + 4 : head + length]
            self._rest, self._has_begun = self._rest[head + length :], True
            if kind == b"P":  # parse
                name, statement, *_ = body.split(b"\0", 2)
                self._prepared[name] = statement
            elif kind == b"B":  # bind
                _, name, *_ = body.split(b"\0", 2)
                found.append(self._prepared[name].decode())
            elif kind == b"Q":
                found.append(body.rstrip(b"\0").decode())


def to_port(port: int) -> Callable[[], socket.socket]:
    return lambda: socket.create_connection(("127.0.0.1", port), 5)


def to_path(path: str) -> Callable[[], socket.socket]:
    def connect() -> socket.socket:
        end = socket.socket(socket.AF_UNIX)
        end.connect(path)
        return end

    return connect
