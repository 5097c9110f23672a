"""No request and no model server keeps the server from answering others.

While something large goes on, `/healthz` is asked all the time. What counts is the processor time
that the server takes between a question and its answer: on a quiet machine that is the time for
which it is deaf, and on a busy one it is the same.
"""

import contextlib
import json
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from socket import create_connection
from typing import Any

import pytest

from ollama_queue import generate_task
from tests.support.deafness import Ear
from tests.support.fakes.hostile import UPGRADE, HostileModel, chunked, request, web_socket
from tests.support.servers.queue_server import QueueServer

MOST_S = 0.2  # four times what a quiet machine allows
TIMES_IDLE = 20  # or so many times what an idle server takes for an answer, where that is more
TRIES = 3  # a collection of garbage or the disk's own threads may fall into one
MIB = 1 << 20

TASK = {"type": "generate", "model": "m", "prompt": "hi"}
WAITS = {**TASK, "scheduled_at": "2100-01-01T00:00:00Z"}  # for its time, not for others
LINES = ("Content-Type", "application/x-ndjson")
MANY = b"[" + b",".join([b"{}"] * 1_000_000) + b"]"
FEEDS = 500
VECTOR = b"[" + b",".join([b"0.123456789012345"] * 1_000) + b"]"
VECTORS = 1_500  # some 26 MiB
EMBEDS = {"model": "m", "input": ["hi"] * VECTORS}
LINE = b'{"model":"m","response":"x","done":false}\n'
LAST = b'{"model":"m","response":"","done":true}\n'
STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
)


class LoadedServer:
    """The server in a process of its own, a model server that does as it is told, and an ear."""

    def __init__(self, server: QueueServer, model: HostileModel, ear: Ear) -> None:
        self.server, self.model, self.ear = server, model, ear
        ear.longest()
        time.sleep(1)  # of silence: this is what is measured
        self.idle_s = ear.longest()

    def ask(self, method: str, path: str, body: Any = b"", *headers: tuple[str, str]) -> int:
        raw = body if isinstance(body, bytes) or not isinstance(body, dict | list) else dump(body)
        return request(self.server.port, method, path, raw, headers)

    def run(self, answer: bytes | Callable[[Any], None]) -> str:
        """The id of a task that the model server has answered so."""
        self.model.answer = answer
        with self.server.client() as client:
            task_id = client.submit_task(generate_task("m", "hi", max_retries=0))
            client.wait(task_id, timeout=120)
        return task_id


def dump(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedServer]:
    with (
        HostileModel() as model,
        QueueServer(tmp_path_factory.mktemp("deaf"), model.url, workers=2) as server,
        Ear(server.port, server.pid) as ear,
    ):
        yield LoadedServer(server, model, ear)


def for_seconds(seconds: float, piece: bytes) -> Iterator[bytes]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield piece


def flood(head: bytes, piece: bytes) -> Callable[[Any], None]:
    def answer(connection: Any) -> None:
        connection.sendall(head)
        for some in for_seconds(2, piece):
            connection.sendall(some)

    return answer


def a_batch(house: LoadedServer) -> None:
    assert house.ask("POST", "/api/tasks/batch", [WAITS] * 10_000) == 201


def a_batch_with_a_key(house: LoadedServer) -> None:
    key = ("Idempotency-Key", str(time.monotonic()))
    assert house.ask("POST", "/api/tasks/batch", [WAITS] * 10_000, key) == 201


def many_at_once(house: LoadedServer) -> None:
    for verb, statuses in (("cancel", ["pending"]), ("delete", ["completed", "cancelled"])):
        assert house.ask("POST", f"/api/tasks/{verb}", {"filter": {"status": statuses}}) == 200


def blank_lines(house: LoadedServer) -> None:
    assert house.ask("POST", "/api/tasks/batch", b"\n" * (200 * MIB), LINES) == 400


def one_line_without_an_end(house: LoadedServer) -> None:
    assert house.ask("POST", "/api/tasks/batch", b" " * (100 * MIB), LINES) in (400, 413)


def an_array_of_nothing(house: LoadedServer) -> None:
    body = b"[" + b" " * (100 * MIB) + b"]"
    assert house.ask("POST", "/api/tasks/batch", body) in (400, 413)


def an_endless_stream(house: LoadedServer) -> None:
    pieces = for_seconds(2, b"10000\r\n" + b"\n" * 0x10000 + b"\r\n")
    house.ask("POST", "/api/tasks/batch", pieces, LINES)


def an_endless_stream_of_tiny_chunks(house: LoadedServer) -> None:
    house.ask("POST", "/api/tasks/batch", for_seconds(2, b"1\r\n\n\r\n" * 10_000), LINES)


def a_long_cron(house: LoadedServer) -> None:
    expr = "0," * (MIB // 2) + "0 * * * *"
    cron = {"name": "x", "cron_expr": expr, "task_template": TASK}
    assert house.ask("POST", "/api/cron", cron) == 400
    assert house.ask("POST", "/api/cron/test", {"cron_expr": expr}) == 400


def a_rare_cron(house: LoadedServer) -> None:
    wanted = {"cron_expr": "59 23 29 2 *", "count": 100, "timezone": "Europe/Berlin"}
    assert house.ask("POST", "/api/cron/test", wanted) == 200


def a_payload_of_many_values(house: LoadedServer) -> None:
    for place in ("payload", "metadata", "options"):
        body = b'{"type":"generate","model":"m","prompt":"hi","%b":{"x":%b}}'
        assert house.ask("POST", "/api/tasks", body % (place.encode(), MANY)) == 400
    assert house.ask("POST", "/api/chat", b'{"model":"m","messages":%b}' % MANY) == 400
    assert house.ask("POST", "/v1/chat/completions", b'{"model":"m","messages":%b}' % MANY) == 400
    assert house.ask("POST", "/api/show", b'{"model":"m","x":%b}' % MANY) == 400


def as_many_values_as_may_be(house: LoadedServer) -> None:
    small = b",".join([b"{}"] * 99_000)
    body = b'{"type":"generate","model":"m","payload":{"prompt":"hi","x":[%b]}}' % small
    assert house.ask("POST", "/api/tasks", body, ("Idempotency-Key", "k")) in (200, 201)
    numbers = b",".join([b"1"] * 990_000)
    body = b'{"type":"generate","model":"m","payload":{"prompt":"hi","x":[%b]}}' % numbers
    assert house.ask("POST", "/api/tasks", body) == 201


def many_fields(house: LoadedServer) -> None:
    fields = b",".join(b'"k%d":1' % number for number in range(1_000_000))
    assert house.ask("POST", "/api/tasks", b"{%b}" % fields) == 400


def deep_nesting(house: LoadedServer) -> None:
    assert house.ask("POST", "/api/tasks", b"[" * (10 * MIB)) == 400
    wide = b",".join([b"[" * 90 + b"]" * 90] * 30_000)
    assert house.ask("POST", "/api/tasks", b'{"payload":{"x":[%b]}}' % wide) == 400


def many_ids(house: LoadedServer) -> None:
    ids = [f"01900000-0000-7000-8000-{number:012}" for number in range(100_000)]
    assert house.ask("POST", "/api/tasks/cancel", {"ids": ids}) == 400


def a_large_head(house: LoadedServer) -> None:
    assert house.ask("GET", "/api/tasks?" + "%41=%42&" * 3_600) in (400, 414, 431)
    assert house.ask("GET", "/api/tasks?q=" + "a%20" * 7_000) in (400, 414, 431)
    many = [(f"X{number}", "a") for number in range(3_000)]
    assert house.ask("GET", "/api/status", b"", *many) == 431


def the_description(house: LoadedServer) -> None:
    for _ in range(5):
        assert house.ask("GET", "/openapi.json") == 200


def long_lists(house: LoadedServer) -> None:
    large = [{**WAITS, "prompt": "é\n" * 5_000}] * 1_000
    assert house.ask("POST", "/api/tasks/batch", large) == 201
    assert house.ask("GET", "/api/tasks?limit=1000") == 200
    assert house.ask("GET", "/api/tasks?limit=1000&include=payload,result") == 200


def feeds_that_begin(house: LoadedServer) -> None:
    assert house.ask("POST", "/api/tasks/batch", [WAITS] * 1_000) == 201
    sockets = [web_socket(house.server.port) for _ in range(20)]
    for socket in sockets:
        socket.recv(1)
        socket.close()


def many_feeds_at_once(house: LoadedServer) -> None:
    with contextlib.ExitStack() as open_ones:
        sockets = [
            open_ones.enter_context(create_connection(("127.0.0.1", house.server.port)))
            for _ in range(FEEDS)
        ]
        for socket in sockets:
            socket.sendall(UPGRADE)
        for socket in sockets:
            answer = b""
            while b'"snapshot"' not in answer:
                answer = answer[-20:] + socket.recv(1 << 18)


def tiny_frames(house: LoadedServer) -> None:
    for frame in (b"\x81\x82\0\0\0\0{}", b"\x89\x80\0\0\0\0"):
        with web_socket(house.server.port) as socket:
            threading.Thread(target=swallow, args=(socket,), daemon=True).start()
            try:
                for some in for_seconds(1, frame * 10_000):
                    socket.sendall(some)
            except OSError:
                pass  # it has had enough


def swallow(socket: Any) -> None:
    try:
        while socket.recv(MIB):
            pass
    except OSError:
        pass


def a_wish_of_many_values(house: LoadedServer) -> None:
    wish = b'{"subscribe":[%b]}' % b",".join([b"{}"] * 300_000)
    with web_socket(house.server.port) as socket:
        socket.sendall(b"\x81\xff" + struct.pack("!Q", len(wish)) + b"\0\0\0\0" + wish)
        socket.recv(1)


def many_chunks_in_one_piece(house: LoadedServer) -> None:
    task_id = house.run(STREAM + chunked([LINE * 100_000 + LAST]))
    assert house.ask("GET", f"/api/tasks/{task_id}/stream") == 200
    assert house.ask("GET", f"/api/tasks/{task_id}") == 200


def many_chunks_one_by_one(house: LoadedServer) -> None:
    house.run(STREAM + chunked([LINE] * 100_000 + [LAST]))


def chunks_of_a_byte(house: LoadedServer) -> None:
    data = LINE * 2_000 + LAST
    house.run(STREAM + chunked(data[at : at + 1] for at in range(len(data))))


def many_chunks_through_the_other_doors(house: LoadedServer) -> None:
    house.model.answer = STREAM + chunked([LINE * 100_000 + LAST])
    assert house.ask("POST", "/api/generate", {"model": "m", "prompt": "hi"}) == 200


def a_flood_of_continue(house: LoadedServer) -> None:
    house.run(flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000))


def a_flood_of_fields(house: LoadedServer) -> None:
    house.run(flood(b"HTTP/1.1 200 OK\r\n", b"X: yyyyyyyyyyyyy\r\n" * 1_000))


def a_reply_without_an_end(house: LoadedServer) -> None:
    house.run(flood(STREAM, b"%x\r\n%b\r\n" % (1_000 * len(LINE), 1_000 * LINE)))


def a_reply_of_blank_lines(house: LoadedServer) -> None:
    house.run(STREAM + chunked([b"\n" * (30 * MIB) + LAST]))


def whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def many_vectors(house: LoadedServer) -> None:
    vectors = b'{"embeddings":[%b],"prompt_eval_count":3}' % b",".join([VECTOR] * VECTORS)
    house.model.answer = whole(vectors)
    assert house.ask("POST", "/api/embed", EMBEDS) == 200
    assert house.ask("POST", "/api/embeddings", {"model": "m", "prompt": "hi"}) == 200
    task = {"type": "embed", "model": "m", "input": "hi"}
    assert house.ask("POST", "/api/tasks/batch?wait=60", [task] * 2) == 201
    assert house.ask("GET", "/api/tasks?limit=1&status=completed&include=payload,result") == 200


def many_vectors_in_the_form_of_openai(house: LoadedServer) -> None:
    vectors = b",".join([b'{"index":0,"embedding":%b}' % VECTOR] * VECTORS)
    house.model.answer = whole(b'{"data":[%b],"usage":{"prompt_tokens":3}}' % vectors)
    for tier in ({}, {"service_tier": "flex"}):
        assert house.ask("POST", "/v1/embeddings", {**EMBEDS, **tier}) == 200


def vectors_with_other_things(house: LoadedServer) -> None:
    numbers = MANY.replace(b"{}", b"1")
    for field in ("error", "prompt_eval_count"):
        for value in (MANY, numbers):
            wrong = b'{"embeddings":[[1]],"%b":%b}' % (field.encode(), value)
            house.model.answer = whole(wrong)
            assert house.ask("POST", "/api/embed", {"model": "m", "input": "hi"}) in (200, 502)
    for field in ("error", "usage"):
        wrong = b'{"data":[{"embedding":[1]}],"%b":%b}' % (field.encode(), MANY)
        house.model.answer = whole(wrong)
        assert house.ask("POST", "/v1/embeddings", {"model": "m", "input": "hi"}) == 502


def a_large_prompt(house: LoadedServer) -> None:
    prompt = "é\n" * (8 * MIB // 3)
    assert house.ask("POST", "/api/tasks", {**WAITS, "prompt": prompt}) == 201
    house.model.answer = STREAM + chunked([LAST])
    assert house.ask("POST", "/api/generate", {"model": "m", "prompt": prompt}) == 200


def snapshots(house: LoadedServer) -> None:
    assert house.ask("POST", "/api/tasks/batch", [{**WAITS, "prompt": "x" * 2_000}] * 5_000) == 201
    for _ in range(3):
        assert house.ask("POST", "/api/snapshot") == 200


INPUTS: Iterable[Callable[[LoadedServer], None]] = (
    a_batch,
    a_batch_with_a_key,
    many_at_once,
    blank_lines,
    one_line_without_an_end,
    an_array_of_nothing,
    an_endless_stream,
    an_endless_stream_of_tiny_chunks,
    a_long_cron,
    a_rare_cron,
    a_payload_of_many_values,
    as_many_values_as_may_be,
    many_fields,
    deep_nesting,
    many_ids,
    a_large_head,
    the_description,
    long_lists,
    feeds_that_begin,
    many_feeds_at_once,
    tiny_frames,
    a_wish_of_many_values,
    many_chunks_in_one_piece,
    many_chunks_one_by_one,
    chunks_of_a_byte,
    many_chunks_through_the_other_doors,
    a_flood_of_continue,
    a_flood_of_fields,
    a_reply_without_an_end,
    a_reply_of_blank_lines,
    many_vectors,
    many_vectors_in_the_form_of_openai,
    vectors_with_other_things,
    a_large_prompt,
    snapshots,
)


@pytest.mark.parametrize("does", INPUTS, ids=lambda does: str(does.__name__))
def test_the_server_hears(house: LoadedServer, does: Callable[[LoadedServer], None]) -> None:
    most_s = max(MOST_S, TIMES_IDLE * house.idle_s)
    gaps: list[float] = []
    while len(gaps) < TRIES and min(gaps, default=most_s) >= most_s:
        house.ear.longest()
        house.model.answer = STREAM + chunked([LAST])
        does(house)
        gaps.append(house.ear.longest())
    assert min(gaps) < most_s, f"deaf for {gaps} s; an idle one for {house.idle_s} s"


def test_the_status_tells_how_long_it_was_deaf(house: LoadedServer) -> None:
    with house.server.client() as client:
        gap_ms = client.get_queue_stats().hub_gap_ms
    assert gap_ms is not None and gap_ms > 0
