"""Follows the stream of a call at the server that makes it, in a thread of its own."""

import threading
from collections.abc import Callable
from contextlib import closing

import httpx

from ..base.actor import Ref, tell
from ..base.stream_log import StreamLog
from ..base.thread_pool import begin
from ..core.messages import RelayEnded, StreamEnded, StreamGrew
from ..core.model.orders import LEADER, PlacedCall
from ..core.model.tasks import AttemptBegun, Piece
from ..executors.transport import ConnectionTransport
from .server_request import SignedTarget
from .signature import Seal
from .stream_frames import frames
from .warm_connections import WarmConnections

PATH = "/fleet/streams/"  # plus the id of a task, and an attempt
LEADER_PATH = "/fleet/leader-streams/"  # the same, of a call that the leader has not placed
SILENCE_S = 10.0  # of the other server, which sends heartbeats
HEARTBEAT_S = 2.0


class StreamRelay:
    """Appends the pieces of a call to a log, and tells the EventBus of both. Ends with
    `RelayEnded`, whatever happens."""

    def __init__(
        self,
        call: PlacedCall,
        bus: Ref,
        where: Callable[[str], tuple[str | None, Seal]],
        pause_s: float,
        connections: WarmConnections,
    ) -> None:
        """`where` returns a server's address, None if it has none, and the servers' seal."""
        self._call, self._bus, self._where, self._pause_s = call, bus, where, pause_s
        self._connections = connections
        self._transport: ConnectionTransport | None = None
        self._lock = threading.Lock()
        self._is_aborted = threading.Event()

    def begin(self) -> Callable[[], None]:
        """Follow the call. Returns what ends this."""
        begin(threading.Thread(target=self._run, name="ollama-queue-relay", daemon=True))
        return self.abort

    def abort(self) -> None:
        with self._lock:
            self._is_aborted.set()
            if self._transport is not None:
                self._transport.abort()

    def _run(self) -> None:
        call, is_complete = self._call, False
        try:
            self._is_aborted.wait(self._pause_s)
            url, seal = self._where(self._call.server)
            if url is not None:
                is_complete = self._follow(url, seal)
        except (httpx.HTTPError, ValueError):
            pass  # RelayEnded says that it is incomplete; it begins anew while it is needed
        finally:
            tell(self._bus, RelayEnded(call.task_id, call.attempt, is_complete))

    def _follow(self, url: str, seal: Seal) -> bool:
        """Whether the last piece has come. An abort reaches the connection while it is ours."""
        transport = self._connections.borrow(url)
        with self._lock:
            self._transport = transport
        try:
            return not self._is_aborted.is_set() and self._read(transport, url, seal)
        finally:
            with self._lock:
                self._transport = None
            self._connections.give_back(url, transport)

    def _read(self, transport: ConnectionTransport, url: str, seal: Seal) -> bool:
        """Whether the last piece has come."""
        task_id, attempt = self._call.task_id, self._call.attempt
        path = LEADER_PATH if self._call.server == LEADER else PATH
        log: StreamLog | None = None
        target = SignedTarget(url, seal, "GET", f"{path}{task_id}/{attempt}")
        with closing(transport.send(target)) as response:
            if response.status != 200:
                return False
            for frame in frames(task_id, response):
                match frame:
                    case AttemptBegun():
                        log = StreamLog(frame) if frame.attempt == attempt else None
                    case Piece(number=number, raw=raw):
                        if log is not None:
                            log.count = number
                            if log.append(raw):
                                tell(self._bus, StreamGrew(task_id, log))
                    case StreamEnded(attempt=ended) if ended == attempt:
                        return True
        return False
