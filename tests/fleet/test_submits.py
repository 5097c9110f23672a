"""What is submitted at a server that follows is handled there: the leader has the command alone."""

import json
import re
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import pytest

from ollama_queue import Client, Status
from ollama_queue import generate_task as generate
from ollama_queue.actors.core.model.tasks import CLIENT_LEFT
from ollama_queue.actors.fleet.asks import ASK_PATH
from tests.support.fakes.behaviours import Hang, Stream
from tests.support.fakes.model_server import FakeOllama
from tests.support.harness.fleet_house import WORDS
from tests.support.harness.tenants import ANN, BOB, OPS
from tests.support.servers.fleet import PATIENCE_S, ServerOfFleet, ServersOfQueue
from tests.support.servers.postgres import PostgresServer

TALK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
PROMPT = {"model": "m", "prompt": "hi"}
INPUT = {"model": "m", "input": "hi"}
MESSAGE = {**TALK, "max_tokens": 9}
STREAMS: dict[str, dict[str, Any]] = {
    "/api/chat": TALK,
    "/api/generate": PROMPT,
    "/v1/chat/completions": TALK,
    "/v1/completions": PROMPT,
    "/v1/responses": INPUT,
    "/v1/messages": MESSAGE,
}
DROP_INS: list[tuple[str, dict[str, Any]]] = [
    *((path, {**body, "stream": True}) for path, body in STREAMS.items()),
    *((path, {**body, "stream": False}) for path, body in STREAMS.items()),
    ("/api/embed", INPUT),
    ("/v1/embeddings", INPUT),
]
# What differs from one request to the next: ids, times, and how long it took.
_OWN = re.compile(
    r"(?:resp_|msg_|chatcmpl-|cmpl-|item_|rs_)?[0-9a-f]{8}-?[0-9a-f]{4}-?[\w-]{10,}"
    r'|"[^"]*\d\d:\d\d:\d\d[^"]*"|(?<=:)\d{10}(?:\.\d+)?|"\w*_duration":\d+'
)
_NAMED = {"date", "x-queue-task-id", "x-queue-wait-ms", "x-request-id", "request-id"}
_TIMED = {"openai-processing-ms"}


def facts(answer: httpx.Response) -> Any:
    """An answer without what differs each time, and the names of its headers."""
    told = {name: value for name, value in answer.headers.items() if name not in _NAMED | _TIMED}
    told.pop("content-length", None)  # of ids and times
    return answer.status_code, told, set(answer.headers), _OWN.sub("~", answer.text)


def post(server: ServerOfFleet, path: str, body: Any, **headers: str) -> httpx.Response:
    url = f"{server.base_url}{path}"
    return httpx.post(url, json=body, headers=headers, timeout=PATIENCE_S)


def seen_by(leader: ServerOfFleet) -> set[str]:
    """The paths that other servers have asked this one for, those of asks without their digest."""
    paths = re.findall(rb"(?:GET|POST) (\S+) HTTP/1.1\r\n", b"".join(leader.to_here.asked))
    return {re.sub(f"^({ASK_PATH}|/fleet/\\w+).*", r"\1", path.decode()) for path in paths}


def test_drop_in_requests_are_answered_without_the_leader(linked: ServersOfQueue) -> None:
    leader, follower = linked.leader(), linked.followers()[0]
    for path, body in DROP_INS:
        wanted = facts(post(leader, path, body))
        linked.until(lambda: is_answered_here(linked, follower))
        leader.to_here.asked.clear()

        found = facts(post(follower, path, body))

        assert found == wanted, path
        assert found[0] == 200, path
        assert ASK_PATH in seen_by(leader), path
        assert not any(each.startswith(("/api", "/v1")) for each in seen_by(leader)), path


def is_answered_here(linked: ServersOfQueue, follower: ServerOfFleet) -> bool:
    """Whether a server that follows takes tasks itself: it has seen the leader, and hears it."""
    leader = linked.leader()
    leader.to_here.asked.clear()
    return post(follower, "/api/generate", PROMPT).is_success and "/api/generate" not in seen_by(
        leader
    )


def test_a_task_is_submitted_without_the_leader_and_once_for_a_key(linked: ServersOfQueue) -> None:
    leader, follower = linked.leader(), linked.followers()[0]
    linked.until(lambda: is_answered_here(linked, follower))
    task = {"type": "generate", **PROMPT}
    key = {"Idempotency-Key": "once"}

    first = post(follower, "/api/tasks", task, **key)
    again = [post(server, "/api/tasks", task, **key) for server in (follower, leader)]
    other = post(follower, "/api/tasks", {**task, "prompt": "another"}, **key)

    assert first.status_code == 201
    assert [each.status_code for each in again] == [200, 200]
    assert {each.json()["task_id"] for each in (first, *again)} == {first.json()["task_id"]}
    assert other.status_code == 409
    assert "/api/tasks" not in seen_by(leader)


def test_who_waits_with_a_key_meets_the_others_at_the_leader(
    linked: ServersOfQueue, model: FakeOllama
) -> None:
    leader, (one, other) = linked.leader(), linked.followers()
    linked.until(lambda: is_answered_here(linked, one))
    gate = threading.Event()
    model.script(Stream(words=WORDS, gate=gate))
    answers: list[httpx.Response] = []

    def ask(server: ServerOfFleet) -> None:
        answers.append(post(server, "/api/chat", TALK, **{"Idempotency-Key": "together"}))

    threads = [threading.Thread(target=ask, args=(server,)) for server in (one, other)]
    for thread in threads:
        thread.start()
    model.wait_for_calls(len(model.calls) or 1, PATIENCE_S)
    gate.set()
    for thread in threads:
        thread.join()

    assert {each.headers["X-Queue-Task-Id"] for each in answers} == {
        answers[0].headers["X-Queue-Task-Id"]
    }
    assert "/api/chat" in seen_by(leader)


# --- limits -------------------------------------------------------------------------------------

LIMITS = f"""queue: {{max_queue_size: 3}}
auth:
  keys:
    - {{name: ann, key: {ANN}, role: user, tenant: ann, max_priority: 5, models: [m]}}
    - {{name: bob, key: {BOB}, role: reader}}
    - {{name: ops, key: {OPS}, role: admin}}
"""


def test_each_limit_holds_at_each_server(
    database: PostgresServer, model: FakeOllama, tmp_path: Path
) -> None:
    task = {"type": "generate", **PROMPT}
    requests: list[tuple[str, str, Any, dict[str, str]]] = [
        ("", "/api/chat", TALK, {}),
        ("oq_wrong", "/api/chat", TALK, {}),
        (BOB, "/api/tasks", task, {}),
        (BOB, "/v1/messages", MESSAGE, {}),
        (ANN, "/api/tasks", {**task, "model": "other"}, {}),
        (ANN, "/v1/completions", {**PROMPT, "model": "other"}, {}),
        (ANN, "/api/tasks", {**task, "priority": 9}, {}),
        (ANN, "/api/chat", TALK, {"X-Queue-Priority": "9"}),
        (ANN, "/api/tasks", {**task, "tenant": "bob"}, {}),
        (ANN, "/api/chat", TALK, {"X-Queue-Tenant": "bob"}),
        (OPS, "/api/tasks", {**task, "backend": "nowhere"}, {}),
        (OPS, "/api/tasks", {**task, "sooner": True}, {}),
        (OPS, "/api/chat", {**TALK, "model": "unknown"}, {}),
        (OPS, "/v1/chat/completions", {**TALK, "model": "unknown"}, {}),
        (OPS, "/v1/messages", TALK, {}),
        (OPS, "/api/chat", TALK, {"X-Queue-Timeout": "never"}),
        (OPS, "/api/chat", TALK, {"Origin": "https://evil.example"}),
    ]
    full = [(ANN, path, body, {}) for path, body in STREAMS.items()]
    with (
        database.queue() as conninfo,
        ServersOfQueue(tmp_path, model.lists("m").url, conninfo, size=2, settings=LIMITS) as fleet,
    ):
        leader, (follower,) = fleet.leader(), fleet.followers()

        def answers(request: tuple[str, str, Any, dict[str, str]], server: ServerOfFleet) -> Any:
            key, path, body, headers = request
            if key:
                headers = {**headers, "Authorization": f"Bearer {key}"}
            return facts(post(server, path, body, **headers))

        for request in requests:
            found, wanted = answers(request, follower), answers(request, leader)
            assert found == wanted, request
            assert found[0] >= 400, request
        with Client(leader.base_url, api_key=OPS) as ops:
            ops.pause()
            for _ in range(3):
                ops.submit_task(generate("m", "hi"))
            for request in full:
                found, wanted = answers(request, follower), answers(request, leader)
                assert found == wanted, request
                assert found[0] in (429, 503, 529), request


# --- clients that leave, and leaders that do ----------------------------------------------------


class Talk:
    """A streamed chat at a server; its first word has come."""

    def __init__(self, server: ServerOfFleet) -> None:
        self.connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
        self.connection.request("POST", "/api/chat", json.dumps(TALK))

    def begin(self) -> "Talk":
        self.answer: HTTPResponse = self.connection.getresponse()
        self.task_id = self.answer.headers["X-Queue-Task-Id"]
        self.words = [self.next()]
        return self

    def next(self) -> str:
        word: str = json.loads(self.answer.readline())["message"]["content"]
        return word

    def rest(self) -> str:
        """The whole reply."""
        lines = [json.loads(line) for line in self.answer]
        assert lines[-1]["done"] is True, lines
        return "".join([*self.words, *(line["message"]["content"] for line in lines)])

    def leave(self) -> None:
        self.answer.close()
        self.connection.close()


def talks(fleet: ServersOfQueue, server: ServerOfFleet) -> list[Talk]:
    """Three at this server, those that others than the leader make first."""
    begun = [Talk(server) for _ in range(3)]
    for talk in begun:
        talk.begin()
    with fleet.connection() as connection:
        rows = connection.execute(
            b"SELECT split_part(convert_from(key, 'utf8'), ':', 2) FROM calls"
        ).fetchall()
    elsewhere = {task_id for (task_id,) in rows}
    assert len(elsewhere) == 2
    return sorted(begun, key=lambda talk: talk.task_id not in elsewhere)


def test_a_stream_goes_on_while_the_leader_is_replaced(
    three: ServersOfQueue, gate: threading.Event
) -> None:
    leader, follower = three.leader(), three.followers()[0]
    one, other, of_leader = talks(three, follower)

    leader.kill()
    gate.set()

    assert [one.rest(), other.rest()] == ["one two three"] * 2
    assert b"error" in of_leader.answer.read()  # its call was made anew, of which it had a part
    with follower.client() as client:
        for talk in (one, other):
            assert client.wait(talk.task_id, timeout=PATIENCE_S).status is Status.COMPLETED


def test_who_leaves_has_its_task_cancelled_by_the_next_leader(
    three: ServersOfQueue, gated: FakeOllama
) -> None:
    gated.default = Stream(words=WORDS[:1], then="hang")
    leader, follower = three.leader(), three.followers()[0]
    one, other, _ = talks(three, follower)

    leader.kill()
    one.leave()
    other.leave()

    gated.wait_for_disconnect(PATIENCE_S, count=3)  # with the call of the leader
    with three.ready(follower) as client:
        for talk in (one, other):
            task = client.wait(talk.task_id, timeout=PATIENCE_S)
            assert (task.status, task.error) == (Status.CANCELLED, CLIENT_LEFT)


def test_who_leaves_before_its_reply_has_its_task_cancelled(
    fleet: ServersOfQueue, model: FakeOllama
) -> None:
    model.default = Hang()
    follower = fleet.followers()[0]
    bodies = [(path, {**body, "stream": True}) for path, body in STREAMS.items()]
    for n, (path, body) in enumerate(bodies, 1):
        connection = HTTPConnection("127.0.0.1", follower.port)
        connection.request("POST", path, json.dumps(body))
        model.wait_for_calls(n, PATIENCE_S)
        connection.close()
        model.wait_for_disconnect(PATIENCE_S, count=n)

    with follower.client() as client:
        fleet.until(lambda: client.list_page({"status": ["cancelled"]}).total == len(bodies))
        assert {task.error for task in client.list_tasks()} == {CLIENT_LEFT}


# --- answers that are lost ----------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/tasks", "/api/chat", "/v1/chat/completions"])
def test_a_submit_whose_answer_is_lost_is_not_repeated(linked: ServersOfQueue, path: str) -> None:
    leader, follower = linked.leader(), linked.followers()[0]
    linked.until(lambda: is_answered_here(linked, follower))
    with leader.client() as client:
        before = client.list_page().total
        leader.to_here.asked.clear()
        leader.to_here.swallows = lambda asked: ASK_PATH.encode() in asked

        answer = post(follower, path, {"type": "generate", **PROMPT} if "tasks" in path else TALK)

        leader.to_here.swallows = lambda asked: False
        assert answer.status_code == 503
        assert "it may have been done" in answer.text
        assert answer.headers["Retry-After"] == "1"
        assert path not in seen_by(leader)
        linked.until(lambda: client.list_page().total == before + 1)


def test_all_that_was_acknowledged_outlives_the_leader(fleet: ServersOfQueue) -> None:
    leader, followers = fleet.leader(), fleet.followers()
    acknowledged: list[str] = []
    unknown: list[httpx.Response] = []
    enough = threading.Event()

    def submit(server: ServerOfFleet, n: int) -> None:
        with httpx.Client(base_url=server.base_url, timeout=PATIENCE_S) as http:
            for turn in range(30):
                task = {"type": "generate", **PROMPT, "tags": [f"t{n}-{turn}"]}
                answer = http.post("/api/tasks", json=task)
                if answer.status_code == 201:
                    acknowledged.append(answer.json()["task_id"])
                else:
                    assert answer.status_code == 503, answer.text
                    unknown.append(answer)
                if len(acknowledged) > 100:
                    enough.set()

    threads = [threading.Thread(target=submit, args=(followers[n % 2], n)) for n in range(8)]
    for thread in threads:
        thread.start()
    assert enough.wait(PATIENCE_S)
    leader.kill()
    for thread in threads:
        thread.join()

    assert len(acknowledged) + len(unknown) == 8 * 30
    with fleet.ready(followers[0]) as client:
        for task_id in acknowledged:
            assert client.wait(task_id, timeout=PATIENCE_S).status is Status.COMPLETED
        tags = [tag for task in everything(client) for tag in task.tags]
    assert len(set(acknowledged)) == len(acknowledged)
    assert len(set(tags)) == len(tags), "nothing was submitted twice"


def everything(client: Client) -> Iterator[Any]:
    cursor = None
    while True:
        page = client.list_page({"limit": 100, **({"cursor": cursor} if cursor else {})})
        yield from page.tasks
        if (cursor := page.cursor) is None:
            return
