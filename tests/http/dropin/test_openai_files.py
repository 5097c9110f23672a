"""OpenAI's official client and the queue's files: upload, list, read, delete."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from ollama_queue.testing import InMemoryQueue
from tests.support.harness.app import client
from tests.support.harness.openai import OpenAIHarness, open_openai
from tests.support.servers.queue_server import QueueServer

DAY_S = 86_400
LINES = b'{"custom_id": "a"}\n\xff\x00\r\n--x' * 50_000


in_a_folder = pytest.mark.parametrize("house", ["ollama"], indirect=True, scope="module")


@pytest.fixture(scope="module", params=["ollama", "follower"])
def house(request: pytest.FixtureRequest) -> Iterator[OpenAIHarness]:
    with open_openai(request) as made:
        yield made


@pytest.fixture
def server(house: OpenAIHarness) -> QueueServer:
    return house.server


@pytest.fixture
def official(house: OpenAIHarness) -> Iterator[openai.OpenAI]:
    yield house.client
    for file in house.client.files.list():
        house.client.files.delete(file.id)


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    """The app in this process, over a queue in memory."""
    with InMemoryQueue(lambda call: "x") as queue:
        yield client(queue, max_file=1000)


def test_a_file_comes_back_as_it_was_sent(official: openai.OpenAI) -> None:
    file = official.files.create(file=("a b\u2014.jsonl", LINES), purpose="batch")

    assert (file.object, file.bytes, file.purpose, file.status) == (
        *("file", len(LINES), "batch", "processed"),
    )
    assert file.filename == "a b\u2014.jsonl"
    assert abs(file.created_at - time.time()) < 60
    assert file.expires_at == file.created_at + 30 * DAY_S
    assert official.files.retrieve(file.id) == file
    assert official.files.content(file.id).read() == LINES
    # With a length it is not chunked as well: a proxy takes that for an attack.
    headers = official.files.content(file.id).response.headers
    assert (headers["content-length"], "transfer-encoding" in headers) == (str(len(LINES)), False)
    official.files.delete(file.id)
    assert file.id not in [each.id for each in official.files.list()]  # read after its removal
    with pytest.raises(openai.NotFoundError, match=file.id) as caught:
        official.files.retrieve(file.id)
    assert (caught.value.code, caught.value.param) == ("not_found", "id")


@in_a_folder
def test_its_bytes_are_private_and_go_with_it(official: openai.OpenAI, server: QueueServer) -> None:
    file = official.files.create(file=("a", LINES), purpose="batch")

    (stored,) = (server.folder / "data" / "files").iterdir()
    assert (stored.stat().st_mode & 0o777, stored.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    official.files.delete(file.id)
    assert list(official.files.list()) == []  # read after its removal
    assert not stored.exists()


def test_an_upload_says_when_it_expires(official: openai.OpenAI) -> None:
    after: Any = {"anchor": "created_at", "seconds": 3600}
    file = official.files.create(file=b"x", purpose="user_data", expires_after=after)

    assert file.expires_at == file.created_at + 3600
    assert file.filename == "upload"


def test_lists_are_paged(official: openai.OpenAI) -> None:
    purposes: Any = ["batch", "evals", "batch", "batch"]
    ids = [official.files.create(file=b"x", purpose=purpose).id for purpose in purposes]

    page = official.files.list(limit=3)
    assert ([file.id for file in page.data], page.has_more) == (ids[:0:-1], True)
    assert [file.id for file in official.files.list(limit=3)] == ids[::-1]  # over all pages
    assert [file.id for file in official.files.list(order="asc", after=ids[1])] == ids[2:]
    assert [file.id for file in official.files.list(purpose="evals")] == [ids[1]]
    assert [file.id for file in official.files.list(purpose="batch", limit=1)] == [
        *(ids[3], ids[2], ids[0]),
    ]
    for refused in ({"after": "file-x"}, {"order": "up"}, {"limit": 0}, {"purpose": "fun"}):
        with pytest.raises(openai.APIStatusError) as caught:
            official.files.list(**refused)
        assert caught.value.status_code in (400, 404)
        assert caught.value.param == next(iter(refused))


def test_with_the_asynchronous_client(server: QueueServer) -> None:
    async def all_of_it() -> None:
        url = f"{server.base_url}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as official:
            files = await asyncio.gather(
                *(official.files.create(file=LINES, purpose="batch") for _ in range(4))
            )
            for file in files:
                assert (await official.files.content(file.id)).content == LINES
                assert (await official.files.delete(file.id)).deleted

    asyncio.run(all_of_it())


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"purpose": (None, "batch")}, "file"),
        ({"file": ("a", b"x")}, "purpose"),
        ({"file": ("a", b"x"), "purpose": (None, b"batch_output")}, "purpose"),
        ({"file": ("a", b"x"), "purpose": (None, b"\xff")}, "purpose"),
        ({"file": (None, b"x"), "purpose": (None, "batch")}, "file"),
        ({"file": ("a/", b"x"), "purpose": (None, "batch")}, "file"),
        ({"file": ("a" * 300, b"x"), "purpose": (None, "batch")}, "file"),
        (
            {
                "file": ("a", b"x"),
                "purpose": (None, "batch"),
                "expires_after[seconds]": (None, "3600"),
            },
            "expires_after[anchor]",
        ),
        (
            {
                "file": ("a", b"x"),
                "purpose": (None, "batch"),
                "expires_after[anchor]": (None, "created_at"),
                "expires_after[seconds]": (None, "60"),
            },
            "expires_after[seconds]",
        ),
    ],
)
def test_what_is_wrong_in_an_upload_is_named(
    http: httpx.Client, parts: dict[str, Any], field: str
) -> None:
    answer = http.post("/v1/files", files=parts)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)
    assert http.get("/v1/files").json()["data"] == []


def test_two_files_are_one_too_many(http: httpx.Client) -> None:
    answer = http.post("/v1/files", files=[("file", ("a", b"x")), ("file", ("b", b"y"))])

    assert answer.json()["error"]["message"] == "send one file"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{}", "application/json"),
        (b"", "multipart/form-data"),
        (b"x", "multipart/form-data; boundary=b"),
        (b"--b\r\n", "multipart/form-data; boundary=b"),
        (b"--b--\r\n", f"multipart/form-data; boundary={'b' * 300}"),
        (b"--b\r\nX: y\r\n\r\nz\r\n--b--\r\n", "multipart/form-data; boundary=b"),
        (b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nz', None),
        (b"--b\r\n" + b"X: y\r\n" * 100 + b"\r\nz\r\n--b--\r\n", None),
        (b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\n\r\n' * 100 + b"--b--", None),
    ],
)
def test_what_is_no_form_is_refused(http: httpx.Client, content: bytes, kind: str | None) -> None:
    headers = {"Content-Type": kind or "multipart/form-data; boundary=b"}
    answer = http.post("/v1/files", content=content, headers=headers)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] in ("Content-Type", "body")


def test_a_file_that_is_too_large_is_refused(http: httpx.Client) -> None:
    fits, larger = b"x" * 1000, b"x" * 1001

    def send(data: bytes) -> int:
        parts: Any = {"file": ("a", data), "purpose": (None, "batch")}
        return http.post("/v1/files", files=parts).status_code

    assert (send(fits), send(larger), send(b"x" * 100_000)) == (200, 413, 413)
    assert len(http.get("/v1/files").json()["data"]) == 1


def test_a_queue_in_memory_keeps_files_too(http: httpx.Client) -> None:
    parts: Any = {"file": ("C:\\x\\a.jsonl", b"hello"), "purpose": (None, "batch")}
    file = http.post("/v1/files", files=parts).json()

    content = http.get(f"/v1/files/{file['id']}/content")
    assert (file["filename"], content.content) == ("a.jsonl", b"hello")
    assert content.headers["Content-Disposition"] == "attachment; filename*=UTF-8''a.jsonl"
    assert http.delete(f"/v1/files/{file['id']}").json()["deleted"]
    for path in ("", "/content"):
        assert http.get(f"/v1/files/{file['id']}{path}").status_code == 404


@in_a_folder
def test_a_client_that_leaves_in_the_middle_leaves_nothing(
    server: QueueServer, official: openai.OpenAI, tmp_path: Path
) -> None:
    def cut_off() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        yield b"x" * 1_000_000
        raise KeyError

    headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": "9000000"}
    with pytest.raises(KeyError):
        httpx.post(f"{server.base_url}/v1/files", content=cut_off(), headers=headers)

    folder = server.folder / "data" / "files"
    deadline = time.monotonic() + 20
    while any(folder.glob("*")) and time.monotonic() < deadline:
        official.files.list()
    assert list(folder.glob("*")) == []
    assert official.files.list().data == []
