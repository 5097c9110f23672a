"""Has the leader's actors answer what servers that follow ask."""

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from ...actors.base.actor import Ref, ask_each
from ...actors.core.messages.command import Command
from ...actors.core.messages.leader_proxy import ANSWERED_BY, ForLeader, GetQueueStats
from ...actors.core.messages.replies import StoredTask
from ...actors.core.model.errors import QueueError
from ...actors.core.model.stats import QueueStats
from ...actors.fleet.asks import ASK_PATH, MOST_BYTES, decode_batch, encode_replies
from ...actors.supervision.switchboard import Generation
from ..requests.exchange import Exchange
from .feed_door import LeadingServer
from .stream_door import StreamOutput

MOST_BODY = MOST_BYTES + 1024  # with the frame of a batch
PATIENCE_S = 12.0  # less than that of who asks
_BYTES = (("Content-Type", "application/octet-stream"), ("Cache-Control", "no-store"))


class LeadingQueue(Protocol):
    """A queue that knows its state while it leads."""

    def get_tenant_stats(self, tenant: str | None) -> QueueStats: ...


class AskDoor:
    """Answers batches of commands, whose paths have the digest of the body that was signed.

    With 200, each command of the batch has its reply or its error; with any other status, nothing
    was done.
    """

    def __init__(self, server: LeadingServer, queue: LeadingQueue) -> None:
        self._server, self._queue = server, queue

    def answer(self, exchange: Exchange, target: str, output: StreamOutput) -> None:
        body = exchange.stream.read(MOST_BODY)
        try:
            if hashlib.sha256(body).hexdigest() != target.removeprefix(ASK_PATH):
                raise ValueError("not what was signed")
            commands = decode_batch(body)
            now = self._server.current()
        except (msgspec.MsgspecError, ValueError):
            output.send(400, (), b"")
        except QueueError:
            output.send(503, (), b"")
        else:
            output.send(200, _BYTES, encode_replies(self._replies(now, commands)))

    def _replies(self, now: Generation, commands: Sequence[ForLeader]) -> list[Any]:
        """All are given to the actors before the first is waited for: so they share a commit."""
        asked: list[tuple[Ref, Command[Any]]] = [
            (now.recipient(each), each) for each in commands if type(each) in ANSWERED_BY
        ]
        answers = iter(ask_each(asked, PATIENCE_S))
        return [
            _short(next(answers)) if type(each) in ANSWERED_BY else self._own(each)
            for each in commands
        ]

    def _own(self, command: Any) -> QueueStats | QueueError:
        """The reply to what several actors answer together."""
        assert isinstance(command, GetQueueStats), "all others have an actor"
        try:
            return self._queue.get_tenant_stats(command.tenant)
        except QueueError as error:
            return error


def _short(reply: Any) -> Any:
    """A task without what it asks and what it got, which whoever submits it again has no use of."""
    return StoredTask(reply.record, b"", None) if isinstance(reply, StoredTask) else reply
