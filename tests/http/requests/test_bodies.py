"""Bodies and files as programs in the field send them: compressed, from Windows, cut characters."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from backports import zstd

from ollama_queue.http.requests.decompression import unpacked
from ollama_queue.http.serving.app import create_app
from tests.support.harness.app import AppHarness, error
from tests.support.harness.cli import CliHarness

TASK = {"type": "generate", "model": "m", "prompt": "é😀"}
TASKS = [TASK, {**TASK, "prompt": "b"}]
LINES = [json.dumps(task, ensure_ascii=False) for task in TASKS]
LIST = json.dumps(TASKS, ensure_ascii=False)
NDJSON = "application/x-ndjson"


def bare(data: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-15)
    return packing.compress(data) + packing.flush()


def greedy(data: bytes) -> bytes:
    """What needs 128 MiB of memory to be unpacked."""
    packing = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    return packing.compress(data) + packing.flush()


PACKED: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("X-Gzip", gzip.compress),
    ("gzip", lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:])),
    ("deflate", zlib.compress),
    ("deflate", bare),
    ("zstd", zstd.compress),
    ("zstd", lambda data: zstd.compress(data[:5]) + zstd.compress(data[5:], 19)),
    ("identity", bytes),
    ("", bytes),
]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[AppHarness]:
    made = AppHarness(tmp_path)
    made.queue.pause()
    yield made
    made.close()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[CliHarness]:
    with CliHarness(tmp_path / "store") as made:
        yield made


def send(house: AppHarness, path: str, content: bytes, coding: str = "", kind: str = "") -> Any:
    headers = {"Content-Encoding": coding, "Content-Type": kind or "application/json"}
    return house.http.post(path, content=content, headers=headers)


def roomy(house: AppHarness) -> httpx.Client:
    app = create_app(house.queue, max_body=2000, max_upload=4000)
    return httpx.Client(transport=httpx.WSGITransport(app=app), base_url="http://localhost")


@pytest.mark.parametrize(("coding", "pack"), PACKED)
def test_what_is_compressed_is_read(
    house: AppHarness, coding: str, pack: Callable[[bytes], bytes]
) -> None:
    answer = send(house, "/api/tasks", pack(json.dumps(TASK).encode()), coding)

    assert answer.status_code == 201, answer.text
    assert house.queue.get_task(answer.json()["task_id"]).payload == {"prompt": "é😀"}


@pytest.mark.parametrize("path", ["/api/tasks", "/api/tasks/batch", "/api/cron"])
@pytest.mark.parametrize(
    ("coding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstd.compress)],
)
def test_what_it_unpacks_to_is_bounded(
    house: AppHarness, path: str, coding: str, pack: Callable[[bytes], bytes]
) -> None:
    bomb = pack(b"[" + b" " * (1 << 24))
    headers = {"Content-Encoding": coding}
    answer = roomy(house).post(path, content=bomb[:1900], headers=headers)

    assert error(answer)[:2] == (413, "too_large")


@pytest.mark.parametrize("coding", ["compress", "br", "gzip, gzip", "x" * 200])
def test_an_unknown_coding_is_named(house: AppHarness, coding: str) -> None:
    answer = send(house, "/api/tasks", b"x", coding)

    assert error(answer) == (415, "unsupported_media_type", "Content-Encoding")
    assert "send gzip, deflate or zstd" in answer.json()["error"]["message"]
    assert isinstance(send(house, "/api/chat", b"x", coding).json()["error"], str)
    told = send(house, "/v1/chat/completions", b"x", coding)
    assert (told.status_code, told.json()["error"]["param"]) == (415, "Content-Encoding")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{}", "the body is not gzip: incorrect header check"),
        (
            gzip.compress(b"{}" * 50, mtime=0)[:-9],
            "the body is incomplete: its gzip ends too early",
        ),
        (gzip.compress(b"{}", mtime=0) + b"more", "the body is not gzip"),
    ],
)
def test_what_is_no_gzip_is_named(house: AppHarness, content: bytes, words: str) -> None:
    answer = send(house, "/api/tasks", content, "gzip")

    assert error(answer) == (400, "invalid", "body")
    assert answer.json()["error"]["message"].startswith(words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{}", "the body is not zstd: "),
        (zstd.compress(b"{}" * 50)[:-2], "the body is incomplete: its zstd ends too early"),
        (zstd.compress(b"{}") + b"more", "the body is not zstd: "),
        (greedy(b"{}"), "the body is not zstd: "),
    ],
)
def test_what_is_no_zstd_is_named(house: AppHarness, content: bytes, words: str) -> None:
    answer = send(house, "/api/tasks", content, "zstd")

    assert error(answer) == (400, "invalid", "body")
    assert answer.json()["error"]["message"].startswith(words)


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_pieces_may_be_cut_anywhere(coding: str, pack: Callable[[bytes], bytes]) -> None:
    text = bytes(range(256)) * 5000
    packed = pack(text) + pack(b"end")

    for size in (1, 7, 1000):
        cut = [packed[at : at + size] for at in range(0, len(packed), size)]
        assert b"".join(unpacked(cut, coding)) == text + b"end"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (LIST, ""),
        (f'{{"tasks": {LIST}}}', ""),
        ("\n".join(LINES), NDJSON),
        ("\r\n".join(LINES) + "\r\n", NDJSON),
        ("\r".join(LINES), NDJSON),
    ],
)
def test_batches_come_as_windows_writes_them(
    tmp_path: Path, shell: CliHarness, encoding: str, text: str, kind: str
) -> None:
    app = create_app(shell.queue)
    http = httpx.Client(transport=httpx.WSGITransport(app=app), base_url="http://localhost")
    headers = {"Content-Type": kind or "application/json"}
    answer = http.post("/api/tasks/batch", content=text.encode(encoding), headers=headers)
    assert answer.status_code == 201, answer.text
    ids = answer.json()["task_ids"]

    if not text.startswith('{"tasks"'):
        path = tmp_path / "tasks.txt"
        path.write_bytes(text.encode(encoding))
        ids += shell.ok("submit", "batch", "--file", str(path)).split()

    assert len(ids) in (2, 4)
    prompts = [(shell.queue.get_task(task_id).payload or {})["prompt"] for task_id in ids]
    assert prompts == ["é😀", "b"] * (len(ids) // 2)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r"\ud83d", "\ufffd"),
        (r"a\ude00b", "a\ufffdb"),
        (r"\ud83d\ude00", "😀"),
        (r"\ud83d\ud83d\ude00\ude00", "\ufffd😀\ufffd"),
        (r"\\ud83d", "\\ud83d"),
        (r"\\\ud83d\\", "\\\ufffd\\"),
    ],
)
def test_half_a_character_is_replaced_at_each_door(
    house: AppHarness, tmp_path: Path, written: str, read: str
) -> None:
    raw = b'{"type": "generate", "model": "m", "prompt": "%b"}' % written.encode()
    http = roomy(house)
    house.queue.pause()
    house.queue.cancel_task(http.post("/api/tasks", content=raw).json()["task_id"])
    (task,) = house.queue.list_tasks({"include": "payload"})
    assert task.payload == {"prompt": read}

    made = http.post("/api/tasks/batch", content=b"[%b]" % raw).json()
    (task_id,) = made["task_ids"]
    assert house.queue.get_task(task_id).payload == {"prompt": read}


def test_half_a_character_of_a_client_of_another_api(house: AppHarness) -> None:
    house.queue.resume()
    body = rb'{"model": "m", "messages": [{"role": "user", "content": "\ud83d"}], "stream": false}'
    for path in ("/api/chat", "/v1/chat/completions"):
        answer = send(house, path, body)
        task = house.queue.get_task(answer.headers["X-Queue-Task-Id"])
        assert (task.payload or {})["messages"] == [{"role": "user", "content": "\ufffd"}]
