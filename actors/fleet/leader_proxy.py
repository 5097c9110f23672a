"""Has the leader's actors answer, on a server that follows."""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any, get_args

import httpx
import msgspec
from msgspec import Struct

from ..base.actor import Actor, tell
from ..base.cooperation import YieldControl, never_yield
from ..base.inbox import Promise
from ..base.receiver import MakeReceiver, PlainReceiver
from ..base.thread_pool import ThreadPool
from ..core.messages.command import Command
from ..core.messages.leader_proxy import (
    BatchAnswered,
    Changing,
    Flush,
    LeaderChanged,
    ToLeaderProxy,
)
from ..core.messages.scheduler import Cancel
from ..core.messages.wake import Wake
from ..core.model.errors import OutcomeUnknown, QueueError, Unavailable
from ..executors.transport import ConnectionTransport
from .asks import (
    ASK_PATH,
    MOST_BYTES,
    MOST_TOGETHER,
    decode_replies,
    encode_batch,
    encode_command,
)
from .server_request import SignedTarget, Where
from .signature import Seal

CONNECT_S = 2.0
READ_SILENCE_S = 2.0  # of the leader, to a question: then the request is passed on to it
CHANGE_SILENCE_S = 15.0
READERS, CHANGERS = 2, 4  # connections
MOST_WAITING = 64 << 20  # bytes of commands that wait for a connection
CLOSE_S = 1.0
OWED_S = 60.0  # for so long a cancel that no leader has taken is tried again
OWED_PAUSE_S = 0.5
MOST_OWED = 10_000


class _Asked(Struct, eq=False):
    """A command on its way. `since` is when it came, by the actor's clock."""

    command: Command[Any]
    data: bytes
    promise: Promise[Any] | None
    since: float


class _Lane:
    """Connections for commands of one kind, and the commands that wait for one of them.

    What changes nothing may be sent twice, and does not wait for what does.
    """

    def __init__(
        self, name: str, connections: int, silence_s: float, make_receiver: MakeReceiver
    ) -> None:
        self.waiting: deque[_Asked] = deque()
        self.size = 0  # bytes that wait
        self.free = [
            ConnectionTransport(silence_s, CONNECT_S, make_receiver) for _ in range(connections)
        ]
        self.threads = ThreadPool(name, connections)

    def put(self, asked: _Asked) -> None:
        self.waiting.append(asked)
        self.size += len(asked.data)

    def take(self) -> list[_Asked]:
        """What goes together next."""
        batch: list[_Asked] = []
        size = 0
        while self.waiting and len(batch) < MOST_TOGETHER:
            size += len(self.waiting[0].data)
            if size > MOST_BYTES:
                break
            batch.append(self.waiting.popleft())
            self.size -= len(batch[-1].data)
        return batch


class _Batch(Struct, eq=False):
    lane: _Lane
    url: str
    transport: ConnectionTransport
    asked: list[_Asked]


class LeaderProxy(Actor):
    """Sends commands to the server that leads, and its replies to who asked.

    Commands collect while all connections are busy, as changes do during an fsync: what came
    meanwhile goes in the next request. The error is `Unavailable` as long as nothing can have been
    done, so that the request may be passed on; a change whose answer is lost is `OutcomeUnknown`.
    A `Cancel` that is told is kept until a leader has taken it.
    """

    def __init__(
        self,
        report: Callable[[str], None],
        *,
        yield_control: YieldControl = never_yield,
        where: Where,
        tell_here: Callable[[Command[Any]], bool],
        make_receiver: MakeReceiver = PlainReceiver,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tell_here` tells the actors of this server, if it leads, and returns whether it does."""
        super().__init__(report, yield_control, clock)
        self.where, self.tell_here, self.make_receiver = where, tell_here, make_receiver
        self.batches: dict[int, _Batch] = {}  # that are on their way
        self.tickets = 0
        self.is_flushing = False
        self.owed: deque[_Asked] = deque()  # cancels that no leader has taken yet

    def on_start(self) -> None:
        name, make = "ollama-queue-ask", self.make_receiver
        self.reads = _Lane(name, READERS, READ_SILENCE_S, make)
        self.changes = _Lane(name, CHANGERS, CHANGE_SILENCE_S, make)

    def on_close(self) -> bool:
        for batch in self.batches.values():
            batch.transport.abort()
        is_done = [lane.threads.finish(CLOSE_S) for lane in (self.reads, self.changes)]
        for lane in (self.reads, self.changes):
            for transport in lane.free:
                transport.close()
        return all(is_done)

    def handle(self, message: ToLeaderProxy) -> None:
        match message:
            case Flush():
                self.is_flushing = False
                self.send(self.reads)
                self.send(self.changes)
            case BatchAnswered(ticket, replies):
                batch = self.batches.pop(ticket)
                batch.lane.free.append(batch.transport)
                self.answer(batch.asked, replies)
                self.send(batch.lane)
            case LeaderChanged():
                url, _ = self.where()
                for batch in self.batches.values():
                    if batch.url != url:
                        batch.transport.abort()
            case Wake():
                owed, self.owed = self.owed, deque()
                for asked in owed:
                    if not self.tell_here(asked.command):
                        self.gather(self.changes, asked)
            case _:
                lane = self.changes if isinstance(message, get_args(Changing)) else self.reads
                data = encode_command(message)
                if len(data) > MOST_BYTES or lane.size > MOST_WAITING:
                    raise Unavailable("too much to ask the server that leads", retry_after_s=1)
                self.gather(lane, _Asked(message, data, self.later(message), self.clock()))

    def gather(self, lane: _Lane, asked: _Asked) -> None:
        lane.put(asked)
        if not self.is_flushing:
            self.is_flushing = True
            tell(self.actor_ref, Flush())

    def send(self, lane: _Lane) -> None:
        """Send what waits, as far as connections are free."""
        while lane.waiting and lane.free:
            url, seal = self.where()
            asked = lane.take()
            if url is None:
                error = Unavailable("no server leads the queue at the moment", retry_after_s=1)
                self.answer(asked, [error] * len(asked))
                continue
            transport = lane.free.pop()
            transport.begin()
            self.tickets = ticket = self.tickets + 1
            self.batches[ticket] = _Batch(lane, url, transport, asked)
            repeats, me = lane is self.reads, self.actor_ref
            lane.threads.submit(
                partial(_exchange, transport, url, seal, asked, repeats=repeats),
                partial(_note_answered, me, ticket, len(asked)),
            )

    def answer(self, batch: Sequence[_Asked], replies: Sequence[Any]) -> None:
        for asked, reply in zip(batch, replies, strict=True):
            if asked.promise is not None:
                self.keep(asked.promise, reply.again() if isinstance(reply, QueueError) else reply)
            elif isinstance(reply, Unavailable) and isinstance(asked.command, Cancel):
                self.owe(asked)

    def owe(self, asked: _Asked) -> None:
        if len(self.owed) < MOST_OWED and self.clock() < asked.since + OWED_S:
            self.owed.append(asked)
            self.wake_at(self.clock() + OWED_PAUSE_S)


def _note_answered(
    proxy: Any, ticket: int, count: int, replies: list[Any] | None, error: str | None
) -> None:
    if replies is None:  # a fault of ours: what was sent is unknown
        replies = [OutcomeUnknown(f"the queue had an internal error: {error}")] * count
    tell(proxy, BatchAnswered(ticket, replies))


def _exchange(
    transport: ConnectionTransport,
    url: str,
    seal: Seal,
    batch: Sequence[_Asked],
    *,
    repeats: bool,
) -> list[Any]:
    """Send a batch, and return the replies to it, each of which may be a `QueueError`."""
    body = encode_batch([asked.data for asked in batch])
    path = ASK_PATH + hashlib.sha256(body).hexdigest()
    target = SignedTarget(url, seal, "POST", path)
    undone = Unavailable("the server asked does not lead", retry_after_s=1)
    try:
        with closing(transport.send(target, body, repeats=repeats)) as answer:
            data = b"".join(answer)
            if answer.status == 200:
                return decode_replies(data, [asked.command for asked in batch])
            if answer.status < 500 or answer.status == 503:
                return [undone] * len(batch)
            lost = f"status {answer.status}"
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        undone = Unavailable(f"the server that leads is not reached: {error}", retry_after_s=1)
        return [undone] * len(batch)
    except (httpx.HTTPError, msgspec.MsgspecError, ValueError) as error:
        lost = str(error)
    return [_lost(asked.command, lost) for asked in batch]


def _lost(command: Command[Any], why: str) -> QueueError:
    """What to say of a command whose answer was lost: done twice, a cancel does no harm."""
    message = f"the server that leads does not answer: {why}"
    if isinstance(command, get_args(Changing)) and not isinstance(command, Cancel):
        return OutcomeUnknown(f"{message}; it may have been done", retry_after_s=1)
    return Unavailable(message, retry_after_s=1)
