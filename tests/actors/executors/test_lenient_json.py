"""What some servers send that no strict reader reads: half characters, marks, errors of their own.

Each in both dialects: a task in Ollama's on either kind of server, and one that is passed on.
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ollama_queue.actors.core.config.config import Backend
from ollama_queue.actors.core.model.outcomes import Answered, Failed, Outcome, Verdict
from ollama_queue.actors.core.model.tasks import Dialect, Spec, TaskType
from ollama_queue.actors.executors.lenient_json import SurrogateJoiner, lenient
from ollama_queue.actors.executors.ollama import OllamaExecutor
from ollama_queue.actors.executors.openai import OpenAIExecutor
from tests.support.fakes.model_server import Answer, FakeOllama
from tests.support.harness.executor import ASK

WAYS = ("ollama", "openai", "passed on")
EMBED = {"input": "hi"}


def call(fake: FakeOllama, way: str, body: bytes, kind: TaskType = TaskType.CHAT) -> Outcome:
    """What a call comes to when the server answers `body`."""
    fake.script(Answer(body=body))
    if way == "ollama":
        executor: Any = OllamaExecutor(Backend(name="b", url=fake.url), 5.0)
    else:
        executor = OpenAIExecutor(Backend(name="b", type="openai", url=fake.openai_url), 5.0)
    dialect = Dialect.OPENAI if way == "passed on" else Dialect.OLLAMA
    payload = ASK if kind is TaskType.CHAT else EMBED
    executor.begin()
    try:
        outcome: Outcome = executor.run(
            kind, "m", Spec(payload, dialect=dialect), lambda piece: json.loads(piece)
        )
    finally:
        executor.close()
    return outcome


def stream(way: str, *pieces: str, beside: bytes = b"", ends: bool = True) -> bytes:
    """A reply of these pieces, texts as JSON writes them."""
    texts = [piece.encode() for piece in pieces]
    if way == "ollama":
        line = b'{"message": {"content": "%s"}, "done": false%s}\n'
        end = b'{"message": {"content": ""}, "done": true}\n'
    else:
        line = b'data: {"choices": [{"index": 0, "delta": {"content": "%s"}%s}]}\n\n'
        end = (
            b'data: {"choices": [{"delta": {"content": ""}, "finish_reason": "stop", "index": 0}]}'
        )
        end += b"\n\ndata: [DONE]\n\n"
    return b"".join(line % (text, beside) for text in texts) + (end if ends else b"")


def whole(outcome: Outcome) -> Any:
    assert isinstance(outcome, Answered), outcome
    return json.loads(outcome.result)


def text(way: str, outcome: Outcome) -> str:
    reply = whole(outcome)
    message = reply["choices"][0]["message"] if way == "passed on" else reply["message"]
    return str(message["content"])


@pytest.mark.parametrize("way", WAYS)
class TestHalfCharacters:
    @pytest.mark.parametrize(
        ("pieces", "said"),
        [
            ([r"a\ud83d\ude00b"], "a\U0001f600b"),
            ([r"a\ud83d", r"\ude00b"], "a\U0001f600b"),
            ([r"a\ud83d", "", r"\ude00b"], "a\U0001f600b"),
            ([r"a\ud83d", "b"], "a�b"),
            ([r"a\ud83d b", "c"], "a� bc"),
            ([r"a\ude00b"], "a�b"),
            ([r"a\ud83d\ud83d", r"\ude00"], "a�\U0001f600"),
            ([r"a\ud83d"], "a�"),
        ],
    )
    def test_are_joined_or_shown_as_such(
        self, fake: FakeOllama, way: str, pieces: list[str], said: str
    ) -> None:
        assert text(way, call(fake, way, stream(way, *pieces))) == said

    def test_in_bytes_too(self, fake: FakeOllama, way: str) -> None:
        body = stream(way, "ab").replace(b"ab", b"a\xf0\x9fb")

        assert text(way, call(fake, way, body)) == "a�b"


@pytest.mark.parametrize("way", WAYS)
def test_a_number_that_is_none_is_null(fake: FakeOllama, way: str) -> None:
    logprobs = b', "logprobs": [{"token": "a", "logprob": %s}]'
    if way != "ollama":
        logprobs = b', "logprobs": {"content": [{"token": "a", "logprob": %s}]}'
    for number in (b"-Infinity", b"Infinity", b"NaN", b"-1e999"):
        body = stream(way, "a", beside=logprobs % number)

        outcome = call(fake, way, body)

        assert text(way, outcome) == "a"
        assert b'"logprob":null' in outcome.result  # type: ignore[union-attr]


@pytest.mark.parametrize("way", WAYS)
def test_a_mark_before_all_of_it_is_passed_over(fake: FakeOllama, way: str) -> None:
    assert text(way, call(fake, way, b"\xef\xbb\xbf" + stream(way, "Hello", " you"))) == "Hello you"


class TestErrors:
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("begins", [False, True])
    def test_of_fastapi(self, fake: FakeOllama, way: str, begins: bool) -> None:
        start = stream(way, *["Hello"] * begins, ends=False)
        boom = b'{"detail":"boom"}\n'
        if way != "ollama":
            boom = b"data: " + boom + b"\ndata: [DONE]\n\n"

        outcome = call(fake, way, start + boom)

        assert isinstance(outcome, Failed)
        assert outcome.error.endswith("reported an error: boom")

    @pytest.mark.parametrize("way", WAYS[1:])
    @pytest.mark.parametrize(
        "data", ['"boom"', "boom", '{"message": "boom"}', '{"error": {"message": "boom"}}']
    )
    def test_as_events(self, fake: FakeOllama, way: str, data: str) -> None:
        outcome = call(fake, way, f"event: error\ndata: {data}\n\ndata: [DONE]\n\n".encode())

        assert isinstance(outcome, Failed)
        assert outcome.error.endswith("reported an error: boom")

    @pytest.mark.parametrize("way", WAYS[1:])
    def test_a_stream_of_its_end_only(self, fake: FakeOllama, way: str) -> None:
        outcome = call(fake, way, b"data: [DONE]\n\n")

        words = f"b at {fake.openai_url} sent no reply before [DONE]"
        assert isinstance(outcome, Failed)
        assert (outcome.error, outcome.verdict) == (words, Verdict.RETRY)

    @pytest.mark.parametrize("way", WAYS)
    def test_an_empty_embedding(self, fake: FakeOllama, way: str) -> None:
        body = b'{"embeddings": [[]]}' if way == "ollama" else b'{"data": [{"embedding": []}]}'

        outcome = call(fake, way, body, TaskType.EMBED)

        assert isinstance(outcome, Failed)
        assert outcome.error.endswith("sent an empty embedding")

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("field", ["vectors", "error"])
    def test_too_many_of_them(self, fake: FakeOllama, way: str, field: str) -> None:
        """Decoding a million takes a second in which nobody is answered."""
        one = b"[]" if way == "ollama" or field == "error" else b'{"embedding":[]}'
        vectors = b"embeddings" if way == "ollama" else b"data"
        name = vectors if field == "vectors" else b"error"
        body = b'{"%b":[%b]}' % (name, b",".join([one] * 100_001))

        outcome = call(fake, way, body, TaskType.EMBED)

        assert isinstance(outcome, Failed)
        assert outcome.verdict is Verdict.FINAL
        assert "must not contain more than 100000 texts, lists and objects" in outcome.error


@given(some.text(alphabet=some.characters(categories=["L", "So", "Cs"]), max_size=20), some.data())
def test_where_a_text_is_cut_does_not_matter(words: str, data: some.DataObject) -> None:
    cuts = sorted(data.draw(some.lists(some.integers(0, len(words)), max_size=4)))
    pieces = [words[a:b] for a, b in zip([0, *cuts], [*cuts, len(words)], strict=True)]
    halves = SurrogateJoiner()

    read = [halves.mended(lenient(json.dumps({"text": piece}).encode())) for piece in pieces]
    read.append(halves.mended({"text": "", "done": True}))

    whole = words.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert "".join(piece["text"] for piece in read) == whole
