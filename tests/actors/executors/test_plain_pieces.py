"""Pieces with nothing but text are passed on as they are; what is stored is the same either way."""

import json
from typing import Any

import pytest

from ollama_queue.actors.core.model.tasks import Dialect, Spec, TaskType
from ollama_queue.actors.core.text.plain_pieces import EVENT, plain
from ollama_queue.actors.executors import Executor, ollama, openai_passthrough
from ollama_queue.actors.executors import openai as executors_openai
from ollama_queue.actors.executors.ollama import OllamaExecutor
from ollama_queue.actors.executors.openai import OpenAIExecutor
from ollama_queue.actors.executors.openai_whole_reply import WholeReply
from tests.support.fakes.model_server import Answer, FakeOllama
from tests.support.harness.executor import ASK, reply_of

AT = '"model":"m","created_at":"2026-01-01T00:00:00Z"'
END = {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True}
HEAD = '"id":"c","object":"chat.completion.chunk","created":1,"model":"m"'


def chat_line(message: str, beside: str = "") -> str:
    return f'{{{AT},"message":{{{message}}},"done":false{beside}}}'


def event(delta: str, choice: str = "", beside: str = "") -> str:
    return f'{{{HEAD},"choices":[{{"index":0,"delta":{{{delta}}}{choice}}}]{beside}}}'


PLAIN = {
    Dialect.OLLAMA: [
        chat_line('"role":"assistant","content":" a"'),
        '{ "model": "m", "created_at": "", "message": {"role": "assistant", "content": "b"}, '
        '"done": false }',
        chat_line('"role":"assistant","content":"","thinking":"hm"'),
        chat_line('"role":"assistant","content":"\\u003cc\\u003e \\"done\\":true"'),
        chat_line('"role":"assistant","content":"d"', ',"remote_model":"m","remote_host":"h"'),
    ],
    Dialect.OPENAI: [
        event('"content":" a"'),
        event('"content":"b"', ',"finish_reason":null,"logprobs":null', ',"usage":null'),
        event('"role":"assistant","content":"","reasoning":"hm"', beside=',"obfuscation":"x"'),
        event('"reasoning_content":"hm"'),
        event('"content":"\\u003cc\\u003e"', beside=',"system_fingerprint":"fp"'),
    ],
}
ODD = {  # passed on by their meaning
    Dialect.OLLAMA: [
        chat_line('"role":"assistant","content":"a"', ',"new":{"field":[1, 2]}'),
        chat_line('"content":"a"'),
        chat_line('"role":"assistant","content":null'),
        chat_line('"role":"assistant","content":"a\\ud83d"'),
        chat_line('"role":"assistant","content":"","tool_calls":[{"function":{"name":"f"}}]'),
        chat_line('"role":"assistant","content":"a"', ',"logprobs":[{"token":"a","logprob":-1}]'),
        chat_line('"role":"assistant",\r"content":"a"'),
    ],
    Dialect.OPENAI: [
        event('"content":"a"', ',"logprobs":{"content":[]}'),
        event('"content":null'),
        event('"content":"a\\ud83d"'),
        event('"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":"{}"}}]'),
        event('"content":"a"', ',"stop_reason":"x"'),
        event('"content":"a"', beside=',"timings":{"prompt_ms":1}'),
        event('"content":"a"').replace('"created":1', '"created":1.5'),
        event('"content":\r"a"'),
        event("").replace('"delta":{}', '"delta":{"content":"a"},"text":null'),
    ],
}
SEVERAL = event('"content":"a"').replace('"index":0', '"index":1')


@pytest.fixture(params=[Dialect.OLLAMA, Dialect.OPENAI])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    dialect: Dialect = request.param
    return dialect


def ask(
    fake: FakeOllama, executors: tuple[Executor, Executor], dialect: Dialect, lines: list[str]
) -> tuple[Any, list[bytes]]:
    """The reply that is stored, and the pieces that are passed on."""
    if dialect is Dialect.OLLAMA:
        fake.script(
            Answer(body="".join(f"{line}\n" for line in [*lines, json.dumps(END)]).encode())
        )
    else:
        ended = [*lines, event("", ',"finish_reason":"stop"'), "[DONE]"]
        fake.script(Answer(body="".join(f"data: {line}\n\n" for line in ended).encode()))
    executor = executors[dialect is Dialect.OPENAI]
    pieces: list[bytes] = []
    executor.begin()
    outcome = executor.run(TaskType.CHAT, "m", Spec(ASK, dialect=dialect), pieces.append)
    return reply_of(outcome), pieces


@pytest.fixture
def executors(executor: OllamaExecutor, openai: OpenAIExecutor) -> tuple[Executor, Executor]:
    return executor, openai


@pytest.mark.parametrize("delta", ["", '"role":"assistant"', '"content":""', '"content":"a"'])
def test_a_plain_piece_is_output_where_a_decoded_one_is(delta: str) -> None:
    decoded, skimmed = WholeReply(TaskType.CHAT), WholeReply(TaskType.CHAT)
    for reply in (decoded, skimmed):
        reply.take(json.loads(event('"content":"begun"')))
    piece = plain(EVENT, event(delta).encode())
    assert piece is not None

    assert skimmed.take_plain(piece) == decoded.take(json.loads(event(delta)))


def test_a_plain_piece_is_passed_on_as_it_is(
    fake: FakeOllama, executors: tuple[Executor, Executor], dialect: Dialect
) -> None:
    lines = PLAIN[dialect]
    _, pieces = ask(fake, executors, dialect, [lines[0], *lines])

    assert pieces[1 : len(lines) + 1] == [line.encode() for line in lines]


def test_an_odd_piece_is_written_anew_on_one_line_without_spaces(
    fake: FakeOllama, executors: tuple[Executor, Executor], dialect: Dialect
) -> None:
    for line in ODD[dialect]:
        _, pieces = ask(fake, executors, dialect, [PLAIN[dialect][0], line])

        assert json.loads(pieces[1].replace(b"\xef\xbf\xbd", b"")) == {
            **json.loads(line.replace("\\ud83d", ""))
        }
        assert not {10, 13} & set(pieces[1])
        assert b'": ' not in pieces[1]


def test_what_is_stored_does_not_depend_on_it(
    fake: FakeOllama,
    executors: tuple[Executor, Executor],
    dialect: Dialect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = PLAIN[dialect] * 2 + ODD[dialect] + PLAIN[dialect]
    if dialect is Dialect.OPENAI:
        lines += [SEVERAL] * 3
    reply, pieces = ask(fake, executors, dialect, lines)
    for module in (ollama, openai_passthrough):
        monkeypatch.setattr(module, "plain", lambda decoder, text: None)
    other_reply, other_pieces = ask(fake, executors, dialect, lines)

    assert reply == other_reply
    assert list(map(json.loads, pieces)) == list(map(json.loads, other_pieces))


def test_what_is_translated_does_not_depend_on_it(
    fake: FakeOllama, openai: OpenAIExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task in Ollama's dialect on a server that speaks OpenAI's."""
    lines = PLAIN[Dialect.OPENAI] * 2 + [event('"content":""'), *ODD[Dialect.OPENAI]]
    ended = [*lines, event("", ',"finish_reason":"stop"'), "[DONE]"]
    answer = Answer(body="".join(f"data: {line}\n\n" for line in ended).encode())
    replies = []
    for _ in range(2):
        fake.script(answer)
        pieces: list[bytes] = []
        openai.begin()
        outcome = openai.run(TaskType.CHAT, "m", Spec(ASK), pieces.append)
        replies.append(list(map(undated, [reply_of(outcome), *map(json.loads, pieces)])))
        monkeypatch.setattr(executors_openai, "plain", lambda decoder, text: None)

    assert replies[0] == replies[1]
    assert replies[0][1] == {
        "model": "m",
        "message": {"role": "assistant", "content": " a"},
        "done": False,
    }


def undated(reply: dict[str, Any]) -> dict[str, Any]:
    times = ("created_at", "total_duration", "eval_duration")
    return {name: value for name, value in reply.items() if name not in times}


@pytest.mark.parametrize(
    "broken",
    [
        chat_line('"role":"assistant","content":"a"')[:-1],
        chat_line('"role":"assistant","content":"a"') + "}",
        chat_line('"role":"assistant","content":"a","x":'),
    ],
)
def test_a_broken_line_ends_the_call(
    fake: FakeOllama, executors: tuple[Executor, Executor], broken: str
) -> None:
    with pytest.raises(AssertionError, match="invalid JSON"):
        ask(fake, executors, Dialect.OLLAMA, [PLAIN[Dialect.OLLAMA][0], broken])


def test_a_piece_on_several_lines_is_passed_on_on_one(
    fake: FakeOllama, executors: tuple[Executor, Executor]
) -> None:
    """Some servers send an object outside of an event, over as many lines as they like."""
    first = PLAIN[Dialect.OPENAI][0]
    spread = event('"content":"b"', ',"finish_reason":null').replace(",", ",\n")
    last = event("", ',"finish_reason":"stop"')
    body = f"data: {first}\n\ndata: {last}\n\n{spread}\n"
    fake.script(Answer(body=body.encode()))
    pieces: list[bytes] = []
    _, openai = executors
    openai.begin()
    reply_of(openai.run(TaskType.CHAT, "m", Spec(ASK, dialect=Dialect.OPENAI), pieces.append))

    assert json.loads(pieces[-1]) == json.loads(spread)
    assert b"\n" not in pieces[-1]
