"""The job that each queue runs: one POST to the model server, over a connection that stays open.

By `http.client`, or asyncio's streams where a queue runs coroutines: other clients cost more.
"""

import asyncio
import http.client
import json
import os
import threading
import time

PORT = int(os.environ.get("MODEL_PORT", "0"))
WORDS = "Why is the sky blue, and why does it turn red in the evening? Answer in one sentence. " * 3
HEADERS = {"Content-Type": "application/json"}

_local = threading.local()
_idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []


def prompt() -> str:
    """Words that contain the time, by which the model server knows how long a task has waited."""
    return f"{WORDS} @t={time.monotonic_ns()}@"


def _body(text: str) -> bytes:
    asked = {"model": "stub", "messages": [{"role": "user", "content": text}], "stream": False}
    return json.dumps(asked, separators=(",", ":")).encode()


def _reply(answer: bytes) -> str:
    return json.loads(answer)["message"]["content"]


def call(text: str) -> str:
    connection = getattr(_local, "connection", None)
    if connection is None:
        connection = _local.connection = http.client.HTTPConnection("127.0.0.1", PORT)
    connection.request("POST", "/api/chat", _body(text), HEADERS)
    return _reply(connection.getresponse().read())


async def call_async(text: str) -> str:
    reader, writer = _idle.pop() if _idle else await asyncio.open_connection("127.0.0.1", PORT)
    body = _body(text)
    writer.write(b"POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
    writer.write(body)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    answer = await reader.readexactly(int(head.partition(b"content-length:")[2].split()[0]))
    _idle.append((reader, writer))
    return _reply(answer)
