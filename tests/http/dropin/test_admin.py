"""Requests that change models, passed on to one Ollama server or to all, by Ollama's client."""

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest

from ollama_queue import NewTask
from tests.support.fakes.model_changes import Lines
from tests.support.fakes.model_server import Answer, Cut, FakeOllama, Hang
from tests.support.ollama_clients import Ask, asynchronous, failure, sync
from tests.support.servers.queue_server import QueueServer

LAYER = "sha256:" + "a" * 64
SMALL = "sha256:" + "b" * 64
DONE = {"status": "success"}
PULLED = [
    {"status": "pulling manifest"},
    {"status": "pulling aaaaaaaaaaaa", "digest": LAYER, "total": 10},
    {"status": "pulling aaaaaaaaaaaa", "digest": LAYER, "total": 10, "completed": 10},
    {"status": "verifying sha256 digest"},
    DONE,
]
PATIENCE_S = 20.0


class Rack:
    """Two Ollama servers and another one behind a queue that passes changes on."""

    def __init__(self, folder: Path) -> None:
        self.gpu1, self.gpu2, self.other = FakeOllama(), FakeOllama(), FakeOllama()
        self.server = QueueServer(folder, self.gpu1.url)
        backends = [
            f"{{name: gpu1, url: '{self.gpu1.url}', api_key: secret}}",
            f"{{name: gpu2, url: '{self.gpu2.url}', tags: [big]}}",
            f"{{name: llama, type: openai, url: '{self.other.openai_url}'}}",
        ]
        self.server.config.write_text(
            f"backends: [{', '.join(backends)}]\n"
            "proxy: {admin: true}\n"
            "ollama: {timeout: 3s}\n"
            "retry_config: {initial_delay: 50ms, max_delay: 200ms}\n"
            "remote_scheduling: {health_check_interval: 1h}\n"
        )

    @property
    def fakes(self) -> list[FakeOllama]:
        return [self.gpu1, self.gpu2]

    def reset(self) -> None:
        for fake in self.fakes:
            fake.lists("m")
            fake.changes.clear()
            fake.answers = dict.fromkeys(("/api/pull", "/api/push", "/api/create"), Lines(PULLED))
            fake.answers |= dict.fromkeys(("/api/copy", "/api/delete"), Answer(200, b""))
            fake.answers["/api/blobs/"] = Answer(201, b"")


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    made = Rack(tmp_path_factory.mktemp("rack"))
    made.reset()
    with made.server, made.gpu1, made.gpu2, made.other:
        yield made


@pytest.fixture
def rack(standing: Rack) -> Rack:
    standing.reset()
    ollama.Client(standing.server.base_url).pull("m")  # the queue knows what each has
    for fake in standing.fakes:
        fake.changes.clear()
    return standing


@pytest.fixture(params=[sync, asynchronous])
def ask(request: pytest.FixtureRequest, rack: Rack) -> Ask:
    return lambda verb, *args, **options: request.param(
        rack.server.base_url, verb, *args, **options
    )


@pytest.fixture
def http(rack: Rack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=rack.server.base_url, timeout=PATIENCE_S) as client:
        yield client


def post(http: httpx.Client, path: str, body: Any, backend: str | None = None) -> httpx.Response:
    headers = {} if backend is None else {"X-Queue-Backend": backend}
    return http.post(path, json=body, headers=headers)


def lines(answer: httpx.Response) -> list[Any]:
    return [json.loads(line) for line in answer.text.splitlines()]


# --- progress -----------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["pull", "push"])
def test_progress_of_one_server_arrives_as_it_was_sent(ask: Ask, rack: Rack, verb: str) -> None:
    parts = ask(verb, "m", stream=True, headers={"X-Queue-Backend": "gpu1"})

    said = [part.model_dump(exclude_none=True) for part in parts]
    assert said[0] == PULLED[0]
    assert said[-1] == DONE
    assert said[-3:-1] == PULLED[2:4]
    (change,) = rack.gpu1.changes
    assert (change.method, change.path) == ("POST", f"/api/{verb}")
    assert change.body == {"model": "m", "insecure": False, "stream": True}
    assert rack.gpu2.changes == []


def test_without_a_stream_the_end_is_answered_and_the_server_still_streams(
    ask: Ask, rack: Rack
) -> None:
    assert ask("pull", "m").status == "success"
    assert ask("push", "m").status == "success"
    assert ask("create", "n", from_="m").status == "success"

    assert [change.body["stream"] for change in rack.gpu1.changes] == [True] * 3


def test_each_line_arrives_at_once(rack: Rack) -> None:
    gate = threading.Event()
    rack.gpu1.answers["/api/pull"] = Lines(PULLED, gate=gate)
    client = ollama.Client(rack.server.base_url, headers={"X-Queue-Backend": "gpu1"})
    parts = client.pull("m", stream=True)

    assert next(parts).status == "pulling manifest"  # while the rest is not yet there
    gate.set()
    assert [part.status for part in parts][-1] == "success"


def test_of_several_servers_the_slowest_counts(rack: Rack, http: httpx.Client) -> None:
    gate = threading.Event()
    half = {**PULLED[1], "completed": 5}
    rack.gpu1.answers["/api/pull"] = Lines(PULLED)
    rack.gpu2.answers["/api/pull"] = Lines([PULLED[0], half, *PULLED[2:]], gate=gate, gate_at=2)
    with http.stream("POST", "/api/pull", json={"model": "m"}) as answer:
        assert answer.headers["X-Queue-Backend"] == "gpu1, gpu2"
        said = []
        for line in answer.iter_lines():
            said.append(json.loads(line))
            if said[-1].get("completed") == 5:
                gate.set()

    assert said[0] == PULLED[0]
    assert said.count(PULLED[0]) == said.count(PULLED[3]) == said.count(DONE) == 1
    assert said[-1] == DONE
    bar = [line["completed"] for line in said if "digest" in line]
    assert bar == sorted(bar) and bar[-1] == 10 and set(bar) <= {0, 5, 10}


def test_a_pulled_model_is_known_when_the_pull_has_ended(rack: Rack) -> None:
    with rack.server.client() as queue:
        task_id = queue.submit_task(NewTask(type="generate", model="new", payload={"prompt": "hi"}))
        assert queue.get_task(task_id).waiting_for == "backend"
        rack.gpu2.lists("m", "new")

        ollama.Client(rack.server.base_url).pull("new")

        models = {each.name: each.models for each in queue.list_backends()}
        assert models["gpu2"] == ["m", "new"]
        assert queue.wait(task_id, timeout=PATIENCE_S).executed_on == "gpu2"


def test_a_deleted_model_is_gone_when_the_delete_has_ended(rack: Rack) -> None:
    with rack.server.client() as queue:
        rack.gpu1.lists("m", "old")
        ollama.Client(rack.server.base_url).list()  # which shows that it is there
        rack.gpu1.lists("m")

        ollama.Client(rack.server.base_url).delete("old")

        assert queue.list_backends()[0].models == ["m"]
    assert [change.path for change in rack.gpu1.changes] == ["/api/delete"]
    assert rack.gpu2.changes == []  # it did not have it


# --- other changes ------------------------------------------------------------------------------


def test_copy_and_delete_reach_all_that_have_the_model(ask: Ask, rack: Rack) -> None:
    assert ask("copy", "m", "n").status == "success"
    assert ask("delete", "m").status == "success"

    for fake in rack.fakes:
        assert [(each.method, each.body) for each in fake.changes] == [
            ("POST", {"source": "m", "destination": "n"}),
            ("DELETE", {"model": "m"}),
        ]


def test_a_push_goes_to_one_server(ask: Ask, rack: Rack) -> None:
    rack.gpu1.lists("x")
    with rack.server.client() as queue:
        ollama.Client(rack.server.base_url).list()
        queue.list_backends()

    assert ask("push", "x").status == "success"

    assert (len(rack.gpu1.changes), rack.gpu2.changes) == (1, [])


def test_a_delete_that_one_of_several_no_longer_knows_succeeds(rack: Rack, ask: Ask) -> None:
    rack.gpu2.answers["/api/delete"] = Answer(404, {"error": "model 'm' not found"})

    assert ask("delete", "m").status == "success"


def test_a_model_that_no_server_has_is_not_found(ask: Ask) -> None:
    for verb, more in (("delete", ()), ("copy", ("n",)), ("push", ())):
        status, said = failure(ask, verb, "nowhere", *more)
        assert (status, "nowhere" in said) == (404, True)


# --- blobs --------------------------------------------------------------------------------------


def test_a_blob_is_sent_on_to_all(ask: Ask, rack: Rack, tmp_path: Path) -> None:
    file = tmp_path / "blob"
    file.write_bytes(b"0123456789abcdef" * 100_000)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()

    assert ask("create_blob", file) == f"sha256:{digest}"

    for fake in rack.fakes:
        (change,) = fake.changes
        assert (change.method, change.path) == ("POST", f"/api/blobs/sha256:{digest}")
        assert (change.size, change.sha256) == (1_600_000, digest)


def test_a_blob_is_there_if_all_have_it(rack: Rack, http: httpx.Client) -> None:
    path = f"/api/blobs/{LAYER}"
    rack.gpu1.answers["/api/blobs/"] = rack.gpu2.answers["/api/blobs/"] = Answer(200, b"")
    assert http.head(path).status_code == 200
    rack.gpu2.answers["/api/blobs/"] = Answer(404, {"error": "blob not found"})

    assert http.head(path).status_code == 404
    assert http.head(path, headers={"X-Queue-Backend": "gpu1"}).status_code == 200


def test_a_server_that_has_a_blob_already_need_not_read_it(rack: Rack, http: httpx.Client) -> None:
    """It answers at once and closes; the others still get all of it."""
    path = f"/api/blobs/{LAYER}"
    rack.gpu1.answers[f"early {path}"] = Answer(200, b"")
    body = b"x" * (8 << 20)

    answer = http.post(path, content=body)

    assert answer.status_code == 201
    assert rack.gpu2.changes[0].size == len(body)


def test_a_digest_must_be_one(http: httpx.Client) -> None:
    for path in ("/api/blobs/sha256:0", "/api/blobs/..", "/api/blobs/md5:" + "a" * 64):
        answer = http.post(path, content=b"x")
        assert answer.status_code in (400, 404)
        assert "error" in answer.json()


# --- failures -----------------------------------------------------------------------------------


def test_an_error_names_the_server_by_its_name_and_the_others_go_on(ask: Ask, rack: Rack) -> None:
    wrong = {"error": "pull model manifest: file does not exist"}
    rack.gpu1.answers["/api/pull"] = Lines([PULLED[0], wrong])

    status, said = failure(ask, "pull", "m")

    assert status == 502
    assert said == f"gpu1: {wrong['error']} (done on gpu2)"
    with pytest.raises(ollama.ResponseError) as caught:
        ask("pull", "m", stream=True)
    assert caught.value.error == said


@pytest.mark.parametrize(
    ("behaviour", "status", "words"),
    [
        (Answer(500, {"error": "disk full"}), 500, "gpu1: disk full"),
        (Answer(401, {"error": "who are you"}), 502, "gpu1: who are you"),
        (Lines([PULLED[0]], then="cut"), 502, "gpu1: the connection to the model server broke"),
        (Lines([PULLED[0]]), 502, "gpu1: the model server ended its answer before it was done"),
        (Lines([b"nonsense\n"]), 502, "gpu1: the model server sent invalid JSON"),
        (Lines([b"x" * 100_000]), 502, "gpu1: a line of the reply is longer than 16 KiB"),
        (Lines([PULLED[0]], then="hang"), 502, "gpu1: no byte from the model server for 3 s"),
        (Hang(), 502, "gpu1: no byte from the model server for 3 s"),
        (Cut(), 502, "gpu1: the connection to the model server broke"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_odd_answers_of_one_server(
    rack: Rack, http: httpx.Client, behaviour: Any, status: int, words: str
) -> None:
    rack.gpu1.answers["/api/pull"] = behaviour

    answer = post(http, "/api/pull", {"model": "m", "stream": False}, "gpu1")

    assert answer.status_code == status
    said = answer.json()["error"]
    assert said.startswith(words)
    assert "127.0.0.1" not in said and "secret" not in said


def test_a_server_that_is_away_is_named(rack: Rack, http: httpx.Client) -> None:
    rack.gpu2.refuse()
    try:
        answer = post(http, "/api/pull", {"model": "m"})
    finally:
        rack.gpu2.accept()

    *_, last = lines(answer)
    assert last["error"].startswith("gpu2: no connection to the model server")
    assert last["error"].endswith("(done on gpu1)")


def test_endless_kinds_of_progress_end(rack: Rack, http: httpx.Client) -> None:
    rack.gpu1.answers["/api/pull"] = Lines([{"status": f"step {n}"} for n in range(2000)])

    *_, last = lines(post(http, "/api/pull", {"model": "m"}, "gpu1"))

    assert last == {"error": "gpu1: sent too many different lines of progress"}


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/api/pull", {}, "model is required"),
        ("/api/pull", {"model": ["m"]}, "model is required"),
        ("/api/pull", {"model": "m", "stream": "yes"}, "stream must be true or false"),
        ("/api/copy", {"source": "m"}, "destination is required"),
        ("/api/create", {"name": " "}, "model is required"),
        ("/api/create", [], "the body must be a JSON object"),
    ],
)
def test_what_is_wrong_is_named(http: httpx.Client, path: str, body: Any, words: str) -> None:
    answer = post(http, path, body)

    assert answer.status_code == 400
    assert answer.json()["error"].startswith(words)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("gpu7", "X-Queue-Backend: there is no backend gpu7: choose from gpu1, gpu2, llama"),
        ("gpu1, llama", "X-Queue-Backend: llama is of type openai: only Ollama has this route"),
        ("", "X-Queue-Backend: there is no backend ''"),
    ],
)
def test_a_server_that_cannot_is_named(http: httpx.Client, names: str, words: str) -> None:
    answer = post(http, "/api/pull", {"model": "m"}, names)

    assert answer.status_code == 400
    assert answer.json()["error"].startswith(words)


def test_servers_may_be_named_by_a_tag(rack: Rack, http: httpx.Client) -> None:
    assert lines(post(http, "/api/pull", {"model": "m"}, "tag:big"))[-1] == DONE
    assert (rack.gpu1.changes, len(rack.gpu2.changes)) == ([], 1)


# --- keys and clients that leave ----------------------------------------------------------------


def test_a_clients_key_goes_no_further(rack: Rack, http: httpx.Client) -> None:
    private = {"Authorization": "Bearer mine", "Cookie": "a=b", "X-Api-Key": "mine"}
    http.post("/api/pull", json={"model": "m"}, headers=private)

    assert rack.gpu1.changes[0].headers["authorization"] == "Bearer secret"
    for fake in rack.fakes:
        headers = fake.changes[0].headers
        assert "mine" not in str(headers) and "cookie" not in headers
    assert "authorization" not in rack.gpu2.changes[0].headers


def test_a_client_that_leaves_ends_the_calls(rack: Rack, http: httpx.Client) -> None:
    for fake in rack.fakes:
        fake.answers["/api/pull"] = Lines([PULLED[0]], then="hang")
    before = [fake.disconnects for fake in rack.fakes]
    with http.stream("POST", "/api/pull", json={"model": "m"}) as answer:
        next(answer.iter_lines())

    for fake, count in zip(rack.fakes, before, strict=True):
        fake.wait_for_disconnect(count=count + 1)


def test_it_uses_no_slot_and_is_no_task(rack: Rack) -> None:
    with rack.server.client() as queue:
        before = queue.get_queue_stats().total_tasks
        queue.pause()
        try:
            ollama.Client(rack.server.base_url).pull("m")
        finally:
            queue.resume()
        assert queue.get_queue_stats().total_tasks == before


# --- off ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/pull"),
        ("POST", "/api/push"),
        ("POST", "/api/create"),
        ("POST", "/api/copy"),
        ("DELETE", "/api/delete"),
        ("POST", f"/api/blobs/{LAYER}"),
    ],
)
def test_by_default_all_are_refused(server: QueueServer, method: str, path: str) -> None:
    answer = httpx.request(method, server.base_url + path, json={"model": "m"})

    verb = path.split("/")[2]
    assert (answer.status_code, answer.json()) == (
        403,
        {
            "error": f"the queue does not forward {verb}: set proxy.admin to true in its "
            "configuration, or run it against the model server itself, with its address in "
            "OLLAMA_HOST"
        },
    )
    assert httpx.head(f"{server.base_url}/api/blobs/{LAYER}").status_code == 403
