"""A model server with memory for one model and one prompt, in Ollama's dialect, that counts loads.

`python -m benchmarks.programs.loading --port N --load-s S --read-s S --call-s S`: a call of another
model than the last one waits for the load first. A call whose system prompt is not that of the last
one, or was lost with its model, waits until it is read. A prompt contains the number of its task as
`@n=…@`. `GET /books` returns the number of loads and of system prompts read, and for each call its
number, start and end in `time.monotonic_ns()`, which all processes of a machine share.
"""

import argparse
import asyncio
import json
import time
from typing import Any

NUMBER = "@n="
MODELS = ("red", "green", "blue", "grey")


class Server:
    """Serves one call at a time, as a queue with `parallel: 1` sends them."""

    def __init__(self, load_s: float, read_s: float, call_s: float) -> None:
        self.load_s, self.read_s, self.call_s = load_s, read_s, call_s
        self.loaded: str | None = None
        self.cached: str | None = None  # the system prompt that was read last
        self.loads = self.reads = 0
        self.calls: list[tuple[int, int, int]] = []

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve requests in sequence, each with a Content-Length or no body."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                _, at, rest = head.partition("content-length:")
                body = await reader.readexactly(int(rest.split("\r", 1)[0])) if at else b""
                answer = json.dumps(await self.answer(head.split(" ", 2)[1], body)).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
                    b"Content-Length: %d\r\n\r\n%s\n" % (len(answer) + 1, answer)
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def answer(self, path: str, body: bytes) -> dict[str, Any]:
        match path:
            case "/api/chat":
                return await self.chat(json.loads(body))
            case "/api/tags":
                return _listing(*MODELS)
            case "/api/ps":
                return _listing(self.loaded) if self.loaded else _listing()
            case "/books":
                return {"loads": self.loads, "reads": self.reads, "calls": self.calls}
            case _:
                return {"version": "0.0.0"}

    async def chat(self, asked: dict[str, Any]) -> dict[str, Any]:
        began = time.monotonic_ns()
        number = int(asked["messages"][-1]["content"].partition(NUMBER)[2].partition("@")[0])
        if asked["model"] != self.loaded:
            self.loaded, self.cached, self.loads = asked["model"], None, self.loads + 1
            await asyncio.sleep(self.load_s)
        first = asked["messages"][0]
        system = first["content"] if first["role"] == "system" else None
        if system is not None and system != self.cached:
            self.cached, self.reads = system, self.reads + 1
            await asyncio.sleep(self.read_s)
        await asyncio.sleep(self.call_s)
        self.calls.append((number, began, time.monotonic_ns()))
        message = {"role": "assistant", "content": "Rayleigh."}
        return {"model": self.loaded, "message": message, "done": True, "eval_count": 3}


def _listing(*models: str) -> dict[str, Any]:
    return {"models": [{"name": model, "digest": model} for model in models]}


async def _serve(port: int, server: Server) -> None:
    listening = await asyncio.start_server(server.converse, "127.0.0.1", port)
    await listening.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--load-s", type=float, required=True)
    parser.add_argument("--read-s", type=float, required=True)
    parser.add_argument("--call-s", type=float, required=True)
    given = parser.parse_args()
    asyncio.run(_serve(given.port, Server(given.load_s, given.read_s, given.call_s)))
