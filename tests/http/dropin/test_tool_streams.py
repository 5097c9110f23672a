"""Tool calls as model servers stream them, replayed to the official clients at every cut.

What Ollama sends is recorded from 0.9.3; the others are written as llama.cpp and vLLM send them.
"""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import ollama
import openai
import pytest
from pydantic_ai import Agent, Tool
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from ollama_queue import Client, chat_task
from tests.support.servers.queue_server import QueueServer

ASKED: Any = [{"role": "user", "content": "How is the weather in Zürich and in 東京?"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather at a place.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
FIRST = {"city": 'Zürich "Süd" \\ 🌦', "days": [1, 2], "units": {"wind": "km/h"}}
SECOND = {"city": "東京"}
LAST = "Sun ☀ in both."
WANTED = [("get_weather", FIRST), ("get_forecast", SECOND)]

Events = list[dict[str, Any]]


def of_ollama() -> Events:
    """Each call whole, in a line of its own."""
    start = {"model": "m", "created_at": "2026-11-26T17:24:26.241948563Z"}

    def said(name: str, arguments: Any) -> dict[str, Any]:
        call = {"function": {"name": name, "arguments": arguments}}
        return {"role": "assistant", "content": "", "tool_calls": [call]}

    counts = {"prompt_eval_count": 67, "eval_count": 32, "total_duration": 4112573672}
    end = {"message": {"role": "assistant", "content": ""}, "done_reason": "stop", "done": True}
    return [
        *({**start, "message": said(*call), "done": False} for call in WANTED),
        {**start, **end, **counts},
    ]


def piece(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    start = {"id": "chatcmpl-61", "object": "chat.completion.chunk", "created": 1795713870}
    return {**start, "model": "m", "choices": [choice]}


def call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    name = {"name": more.pop("name")} if "name" in more else {}
    return {"index": index, **more, "function": {**name, "arguments": arguments}}


def head(index: int, arguments: str = "") -> dict[str, Any]:
    more = {"id": f"call_{index}", "type": "function", "name": WANTED[index][0]}
    return call(index, arguments, **more)


def by_ollama_itself() -> Events:
    """`/v1` of Ollama 0.9.3: each whole, as a text, and the role again and again."""
    calls = [head(n, json.dumps(arguments)) for n, (_, arguments) in enumerate(WANTED)]
    start = {"role": "assistant", "content": ""}
    return [*(piece(**start, tool_calls=[each]) for each in calls), piece("tool_calls", **start)]


def token_by_token(written: Any, size: int = 2) -> Events:
    """As llama.cpp: the head of a call, then its arguments, a few characters each."""
    events = [piece(role="assistant", content=None)]
    for n, (_, arguments) in enumerate(WANTED):
        text = written(arguments)
        events.append(piece(tool_calls=[head(n)]))
        for at in range(0, len(text), size):
            events.append(piece(tool_calls=[call(n, text[at : at + size])]))
    return [*events, piece("tool_calls")]


def in_turns(written: Any, size: int = 3) -> Events:
    """Both calls grow at once, as of a server that samples them side by side."""
    texts = [written(arguments) for _, arguments in WANTED]
    events = [piece(role="assistant", content="", tool_calls=[head(0), head(1)])]
    for at in range(0, max(map(len, texts)), size):
        events.append(piece(tool_calls=[call(n, t[at : at + size]) for n, t in enumerate(texts)]))
    return [*events, piece("tool_calls", content=None)]


def plain(arguments: Any) -> str:
    return json.dumps(arguments, ensure_ascii=False)


def halved(arguments: Any) -> str:
    """Each character beyond the basic plane as two halves, which pieces of the stream may part."""
    text = plain(arguments).encode("utf-16-le")
    return "".join(chr(int.from_bytes(text[n : n + 2], "little")) for n in range(0, len(text), 2))


OPENAI = {
    "whole": by_ollama_itself(),
    "in tokens": token_by_token(plain),
    "in tokens, escaped": token_by_token(json.dumps),
    "in tokens, halves": token_by_token(halved, 1),
    "in turns, escaped": in_turns(json.dumps),
    "in turns, halves": in_turns(halved, 1),
}


class Replay:
    """A model server that sends what was recorded, `cut` bytes at a time."""

    def __init__(self) -> None:
        self.openai: Events = []
        self.cut = 1 << 20
        self.asked: list[dict[str, Any]] = []
        replay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                models = {"models": [{"name": "m:latest", "model": "m:latest"}]}
                self.reply([json.dumps({**models, "data": [{"id": "m"}]}).encode()])

            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                replay.asked.append(json.loads(self.rfile.read(size)))
                self.reply(replay.pieces(self.path, replay.asked[-1]["messages"]))

            def reply(self, pieces: list[bytes]) -> None:
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for each in [*pieces, b""]:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(each), each))

            def log_message(self, *_: Any) -> None:
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def pieces(self, path: str, messages: list[Any]) -> list[bytes]:
        has_results = messages[-1]["role"] == "tool"
        if path == "/api/chat":
            said = of_ollama()
            if has_results:
                said[:-1] = [{**said[0], "message": {"role": "assistant", "content": LAST}}]
            sent = b"".join(_json(each) + b"\n" for each in said)
        else:
            said = [piece(content=LAST), piece("stop")] if has_results else self.openai
            lines = [_json(each) for each in said]
            sent = b"".join(b"data: %s\n\n" % line for line in [*lines, b"[DONE]"])
        return [sent[at : at + self.cut] for at in range(0, len(sent), self.cut)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _json(event: dict[str, Any]) -> bytes:
    """As UTF-8, but for halves of characters, which have to be escaped."""
    try:
        return json.dumps(event, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(event).encode()


class ReplayingServer:
    def __init__(self, folder: Path, kind: str) -> None:
        self.kind, self.model = kind, Replay()
        url = f"{self.model.url}/v1" if kind == "openai" else self.model.url
        self.server = QueueServer(folder, url, workers=1, kind=kind)
        self.server.start()
        self.url = self.server.base_url

    def close(self) -> None:
        self.server.stop()
        self.model.close()


@pytest.fixture(scope="module", params=["ollama", "openai"])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ReplayingServer]:
    made = ReplayingServer(tmp_path_factory.mktemp("server"), request.param)
    yield made
    made.close()


@pytest.fixture(params=OPENAI)
def recorded(request: pytest.FixtureRequest, house: ReplayingServer) -> str:
    house.model.openai = OPENAI[request.param]
    return str(request.param)


@pytest.fixture(params=[1, 7, 1 << 20], ids=["each byte", "7 bytes", "at once"])
def cut(request: pytest.FixtureRequest, house: ReplayingServer) -> int:
    house.model.cut = request.param
    return int(request.param)


# --- OpenAI's client ----------------------------------------------------------------------------


def gathered(pieces: list[Any]) -> list[tuple[str, Any]]:
    """As a program of OpenAI's cookbook puts the deltas together: by their index."""
    calls: dict[int, dict[str, str]] = {}
    for each in pieces:
        for delta in (each.choices[0].delta.tool_calls or ()) if each.choices else ():
            known = calls.setdefault(delta.index, {"id": delta.id, "name": "", "arguments": ""})
            known["name"] += delta.function.name or ""
            known["arguments"] += delta.function.arguments or ""
    assert [known["id"] for known in calls.values()] == ["call_0", "call_1"]
    return [(known["name"], json.loads(known["arguments"])) for known in calls.values()]


@pytest.mark.parametrize("stream", [False, True])
def test_through_openais_client(
    house: ReplayingServer, recorded: str, cut: int, stream: bool
) -> None:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key="none", max_retries=0) as client:
        answer = client.chat.completions.create(
            model="m", messages=ASKED, tools=[TOOL], stream=stream
        )
        if stream:
            pieces: list[Any] = list(answer)  # type: ignore[arg-type]
            assert gathered(pieces) == WANTED
            assert [e for p in pieces for c in p.choices if (e := c.finish_reason)] == [
                "tool_calls"
            ]
        else:
            choice: Any = answer.choices[0]  # type: ignore[union-attr]
            calls = choice.message.tool_calls
            assert [(c.function.name, json.loads(c.function.arguments)) for c in calls] == WANTED
            assert [c.id for c in calls] == ["call_0", "call_1"]
            assert choice.finish_reason == "tool_calls"
    assert house.model.asked[-1]["tools"] == [TOOL]


def test_through_the_streaming_helper_of_openais_client(
    house: ReplayingServer, recorded: str
) -> None:
    async def ask() -> Any:
        base = f"{house.url}/v1"
        async with (
            openai.AsyncOpenAI(base_url=base, api_key="none", max_retries=0) as client,
            client.chat.completions.stream(model="m", messages=ASKED, tools=[TOOL]) as events,
        ):
            return await events.get_final_completion()

    calls = asyncio.run(ask()).choices[0].message.tool_calls
    assert [(c.function.name, json.loads(c.function.arguments)) for c in calls] == WANTED


# --- Ollama's client ----------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_through_ollamas_client(
    house: ReplayingServer, recorded: str, cut: int, stream: bool
) -> None:
    with ollama.Client(house.url) as client:
        answer: Any = client.chat("m", ASKED, tools=[TOOL], stream=stream)
        parts = list(answer) if stream else [answer]

    calls = [call for part in parts for call in part.message.tool_calls or ()]
    assert [(c.function.name, dict(c.function.arguments)) for c in calls] == WANTED
    assert (parts[-1].done, parts[-1].done_reason) == (True, "stop")
    assert house.model.asked[-1]["tools"][0]["function"] == TOOL["function"]


# --- whole loops: calls, their results, the last word -------------------------------------------


def weather(city: str, days: list[int] | None = None, units: dict[str, str] | None = None) -> str:
    return f"{len(city)} in {city}"


RESULTS = [weather(**FIRST), weather(**SECOND)]


@pytest.mark.parametrize("stream", [False, True])
def test_the_loop_of_ollamas_documents(house: ReplayingServer, recorded: str, stream: bool) -> None:
    messages: list[Any] = [*ASKED]
    with ollama.Client(house.url) as client:
        for _ in range(2):
            answer: Any = client.chat("m", messages, tools=[weather], stream=stream)
            said = [part.message for part in (answer if stream else [answer])]
            calls = [call for each in said for call in each.tool_calls or ()]
            text = "".join(each.content or "" for each in said)
            messages.append({"role": "assistant", "content": text, "tool_calls": calls})
            for call in calls:
                result = weather(**call.function.arguments)
                name = call.function.name
                messages.append({"role": "tool", "tool_name": name, "content": result})

    assert messages[-1]["content"] == LAST
    check_sent(house)


@pytest.mark.parametrize("stream", [False, True])
def test_the_loop_of_an_agent_library(house: ReplayingServer, recorded: str, stream: bool) -> None:
    async def ask() -> str:
        base = f"{house.url}/v1"
        async with openai.AsyncOpenAI(base_url=base, api_key="none", max_retries=0) as client:
            model = OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client))
            names = ("get_weather", "get_forecast")
            agent = Agent(model, tools=[Tool(weather, name=name) for name in names])
            if not stream:
                return (await agent.run(ASKED[0]["content"])).output
            async with agent.run_stream(ASKED[0]["content"]) as run:
                return await run.get_output()

    assert asyncio.run(ask()) == LAST
    check_sent(house)


def check_sent(house: ReplayingServer) -> None:
    """The model server was told the calls and their results, each in its place."""
    asked, said, *results = house.model.asked[-1]["messages"]
    assert (asked["content"], said["role"]) == (ASKED[0]["content"], "assistant")
    calls = [(c["function"]["name"], c["function"]["arguments"]) for c in said["tool_calls"]]
    assert [(n, json.loads(a) if isinstance(a, str) else a) for n, a in calls] == WANTED
    assert [each["content"] for each in results] == RESULTS
    if "tool_call_id" in results[0]:
        ids = [each["id"] for each in said["tool_calls"]]
        assert [each["tool_call_id"] for each in results] == ids
    else:
        assert [each["tool_name"] for each in results] == [name for name, _ in WANTED]


# --- the queue's own verbs ----------------------------------------------------------------------


def test_through_the_queues_own_client(house: ReplayingServer, recorded: str) -> None:
    with Client(house.url) as queue:
        task = queue.wait(queue.submit_task(chat_task("m", ASKED, tools=[TOOL])), timeout=30)

    calls = task.result["message"]["tool_calls"]
    assert [(c["function"]["name"], c["function"]["arguments"]) for c in calls] == WANTED
