"""What servers ask the leader: only what one of them has signed, all of a batch or nothing."""

import hashlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

import pytest

from ollama_queue import QueueManager, Status, generate_task
from ollama_queue.actors.core.intake.submission import draft
from ollama_queue.actors.core.messages.leader_proxy import ForLeader, GetQueueStats
from ollama_queue.actors.core.messages.replies import StoredTask
from ollama_queue.actors.core.messages.scheduler import Cancel, Explain
from ollama_queue.actors.core.model.errors import NotFound
from ollama_queue.actors.core.model.tasks import Submitted
from ollama_queue.actors.fleet.asks import (
    ASK_PATH,
    decode_replies,
    encode_batch,
    encode_command,
)
from ollama_queue.actors.fleet.signature import HEADER, Seal
from ollama_queue.http.forwarding.ask_door import MOST_BODY
from ollama_queue.http.forwarding.fleet_door import FleetDoor
from ollama_queue.http.requests.exchange import Exchange

SEAL = Seal(b"of the servers")


class Output:
    """What was answered."""

    def send(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        self.status, self.body = status, body

    def send_pieces(
        self, status: int, headers: Iterable[tuple[str, str]], pieces: Iterable[bytes]
    ) -> None:
        raise AssertionError("it is no stream")


class Door:
    """The door of a queue that is embedded here; `many` counts servers that were recognized."""

    def __init__(self, queue: QueueManager) -> None:
        self.queue, self.many = queue, 0
        self.queue._switchboard.seal = SEAL
        self.door = FleetDoor(queue._switchboard, queue)

    def recognize(self) -> None:
        self.many += 1

    def post(self, body: bytes, *, signed_for: bytes | None = None, seal: Seal = SEAL) -> int:
        target = ASK_PATH + hashlib.sha256(body if signed_for is None else signed_for).hexdigest()
        headers = {HEADER.lower(): seal.sign("-", "POST", target)}
        exchange = Exchange("POST", target, "", headers, BytesIO(body))
        self.output = Output()
        assert self.door.answer(exchange, target, self.output, self.recognize)
        return self.output.status


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with QueueManager(storage_path=tmp_path, ollama_host="http://127.0.0.1:9") as queue:
        queue.pause()
        yield Door(queue)


def test_each_command_of_a_batch_is_answered_in_its_place(door: Door) -> None:
    submit = draft(generate_task("m", "hi"), "a key")
    commands: list[ForLeader] = [submit, Cancel("nothing"), GetQueueStats(), submit, Explain(())]

    status = door.post(encode_batch([encode_command(each) for each in commands]))
    first, cancelled, stats, second, waiting = decode_replies(door.output.body, commands)

    assert (status, door.many) == (200, 1)
    assert isinstance(first, Submitted)
    assert isinstance(cancelled, NotFound)
    assert (stats.pending_tasks, stats.paused) == (1, True)
    assert isinstance(second, StoredTask)
    assert (second.record.id, second.record.status) == (first.task_id, Status.PENDING)
    assert (second.spec, second.result, waiting) == (b"", None, {})


@pytest.mark.parametrize(
    ("body", "signed_for", "seal", "wanted"),
    [
        (encode_batch([encode_command(Cancel("a"))]), None, Seal(b"of a stranger"), 403),
        (encode_batch([encode_command(Cancel("a"))]), b"another body", SEAL, 400),
        (b"\xc1", None, SEAL, 400),
        (encode_batch([b"\x07"]), None, SEAL, 400),
        (b"x" * (MOST_BODY + 1), None, SEAL, 400),
    ],
)
def test_what_no_server_asks_is_refused(
    door: Door, body: bytes, signed_for: bytes | None, seal: Seal, wanted: int
) -> None:
    assert door.post(body, signed_for=signed_for, seal=seal) == wanted
    assert door.output.body == b""


def test_a_server_that_does_not_lead_says_so(door: Door) -> None:
    door.queue.close(grace_s=0)

    assert door.post(encode_batch([encode_command(Cancel("a"))])) == 503


def test_other_requests_are_for_others(door: Door) -> None:
    exchange = Exchange("POST", "/api/tasks", "", {}, BytesIO())

    assert not door.door.answer(exchange, "/api/tasks", Output(), door.recognize)
