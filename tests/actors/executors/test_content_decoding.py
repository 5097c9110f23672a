"""Replies that a server, or a proxy before it, compresses though nobody asked it to."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ollama_queue.actors.base.cooperation import never_yield
from ollama_queue.actors.core.model.outcomes import Failed, Verdict
from ollama_queue.actors.core.model.tasks import TaskType
from ollama_queue.actors.executors.content_decoding import Undecodable, decoded
from ollama_queue.actors.executors.http_executor import MAX_REPLY
from ollama_queue.actors.executors.ollama import OllamaExecutor
from ollama_queue.actors.executors.openai import OpenAIExecutor
from tests.support.fakes.model_server import Answer, FakeOllama
from tests.support.harness.executor import delta, ndjson, reply_of, run, sse

SAID = [{"message": {"content": "Hello"}}, {"message": {"content": " you"}, "done": True}]
EMBED = {"input": "hi"}


def bare(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(data) + deflater.flush()


def in_two(data: bytes) -> bytes:
    return gzip.compress(data[:9]) + gzip.compress(data[9:]) + bytes(20)


WAYS = {
    "gzip": ("gzip", gzip.compress),
    "of old": ("X-GZip", gzip.compress),
    "two members": ("gzip", in_two),
    "deflate": ("deflate", zlib.compress),
    "deflate, bare": ("deflate", bare),
    "beside nothing": ("identity, gzip", gzip.compress),
    "no compression": ("utf-8", bytes),
}
Pack = Callable[[Answer], Answer]


@pytest.fixture(params=WAYS)
def packed(request: pytest.FixtureRequest) -> Pack:
    coding, pack = WAYS[request.param]

    def of(answer: Answer) -> Answer:
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        headers = {**answer.headers, "Content-Encoding": coding}
        return Answer(answer.status, pack(body), headers)

    return of


class TestAreRead:
    def test_streams(self, fake: FakeOllama, executor: OllamaExecutor, packed: Pack) -> None:
        fake.script(packed(ndjson(*SAID)))
        chunks: list[object] = []

        assert reply_of(run(executor, chunks=chunks))["message"]["content"] == "Hello you"
        assert chunks == SAID

    def test_events(self, fake: FakeOllama, openai: OpenAIExecutor, packed: Pack) -> None:
        fake.script(packed(sse(delta(content="Hello"), delta("stop", content=" you"))))

        assert reply_of(run(openai))["message"]["content"] == "Hello you"

    def test_embeddings(self, fake: FakeOllama, executor: OllamaExecutor, packed: Pack) -> None:
        fake.script(packed(Answer(body={"embeddings": [[1.5]]})))

        assert reply_of(run(executor, TaskType.EMBED, EMBED)) == {"embeddings": [[1.5]]}

    def test_errors(self, fake: FakeOllama, executor: OllamaExecutor, packed: Pack) -> None:
        fake.script(packed(Answer(400, {"error": "too many words"})))

        outcome = run(executor)

        assert isinstance(outcome, Failed)
        assert outcome.error.endswith("answered 400: too many words")

    def test_looks_and_what_is_no_task(
        self, fake: FakeOllama, executor: OllamaExecutor, packed: Pack
    ) -> None:
        fake.facts["/api/tags"] = packed(Answer(body={"models": [{"name": "m:latest"}]}))

        assert executor.probe().models == {"m"}
        assert executor.request("/api/tags", None, 5) == b'{"models": [{"name": "m:latest"}]}'

    def test_each_word_as_soon_as_it_is_there(self) -> None:
        packer = zlib.compressobj(wbits=31)

        def pieces() -> Iterator[bytes]:
            yield packer.compress(b"Hello") + packer.flush(zlib.Z_SYNC_FLUSH)
            raise AssertionError("nobody may ask for more")

        assert next(decoded(pieces(), ["gzip"], never_yield)) == b"Hello"


@given(some.binary(max_size=300), some.sampled_from(list(WAYS)), some.integers(1, 9))
def test_how_the_bytes_came_does_not_matter(body: bytes, way: str, size: int) -> None:
    coding, pack = WAYS[way]
    sent = pack(body)
    pieces = [sent[at : at + size] for at in range(0, len(sent), size)]

    assert b"".join(decoded(pieces, coding.split(","), never_yield)) == body


class TestFail:
    @pytest.mark.parametrize(
        ("coding", "body", "words"),
        [
            ("br", b"\x0b", "compressed with br; only gzip and deflate are read"),
            ("zstd", b"\x28", "compressed with zstd; only gzip and deflate are read"),
            ("gzip, gzip", b"", "compressed with gzip, gzip; only gzip and deflate are read"),
            ("gzip", b"{}", "that is not valid gzip"),
            ("deflate", b"\xff{}", "that is not valid deflate"),
            ("gzip", gzip.compress(b"{}" * 99, mtime=0)[:-9], None),
        ],
    )
    def test_in_one_sentence(
        self, fake: FakeOllama, executor: OllamaExecutor, coding: str, body: bytes, words: str
    ) -> None:
        fake.script(Answer(body=body, headers={"Content-Encoding": coding}))
        said = f"a reply {words}" if words else "a gzip reply that was cut short"

        outcome = run(executor, TaskType.EMBED, EMBED)

        assert isinstance(outcome, Failed)
        assert (outcome.error, outcome.verdict) == (f"{executor.name} sent {said}", Verdict.RETRY)

    def test_leave_an_error_its_status(self, fake: FakeOllama, executor: OllamaExecutor) -> None:
        fake.script(Answer(400, b"\x0b", {"Content-Encoding": "br"}))

        outcome = run(executor)

        assert isinstance(outcome, Failed)
        assert outcome.error.endswith("answered 400: Bad Request")

    @pytest.mark.parametrize("packed", [gzip.compress(bytes(1 << 20)) * 65, b""])
    def test_beyond_the_limit_of_what_they_unpack_to(
        self, fake: FakeOllama, executor: OllamaExecutor, packed: bytes
    ) -> None:
        bomb = packed or gzip.compress(bytes(MAX_REPLY + 1))
        fake.script(Answer(body=bomb, headers={"Content-Encoding": "gzip"}))

        outcome = run(executor, TaskType.EMBED, EMBED)

        assert outcome == Failed("the reply is longer than 64 MiB", Verdict.FINAL)

    def test_are_never_held_whole(self) -> None:
        bomb = gzip.compress(bytes(4 << 20))

        assert max(map(len, decoded([bomb], ["gzip"], never_yield))) <= 64 << 10

    def test_names_what_it_cannot_read(self) -> None:
        with pytest.raises(Undecodable, match="only gzip and deflate"):
            decoded([], ["br"], never_yield)
