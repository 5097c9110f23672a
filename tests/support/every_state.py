"""One queue with a task in every possible state, and every interface that shows them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec

from ollama_queue import Client, Config, NewTask, QueueManager, generate_task
from ollama_queue.actors.base.actor import ask, tell
from ollama_queue.actors.core.config import config
from ollama_queue.actors.core.messages import Explain
from ollama_queue.actors.core.model.stats import Waiting
from ollama_queue.http import sse
from ollama_queue.http.native.feed_broadcaster import FeedBroadcaster
from ollama_queue.http.native.websocket_session import run_session
from tests.support.blocking_client import AppServer, Blocking
from tests.support.fakes.model_server import Answer, FakeOllama, Hang, Stream
from tests.support.fakes.websocket import Socket
from tests.support.harness.cli import run as run_cli

PATIENCE_S = 20.0
LATER = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
LATEST = LATER + timedelta(hours=1)
PAYLOAD = {"type": "generate", "model": "smollm2", "prompt": "cron"}
RETRIES = config.RetrySettings(
    max_retries=3, initial_delay=0.001, backoff_factor=1e9, max_delay=3600.0
)
Json = dict[str, Any]


class Scene:
    """`ids`: a task for each state; `events`: the last event of each task, by feed."""

    def __init__(self, folder: Path) -> None:
        self.began = datetime.now(UTC)
        self.fake = FakeOllama()
        self.manager = QueueManager(
            Config(
                ollama=config.OllamaSettings(host=self.fake.url),
                queue=config.QueueSettings(storage_path=str(folder), max_workers=1),
                retry_config=RETRIES,
            )
        ).start()
        self.app = AppServer.of(self.manager)
        self.http = httpx.Client(base_url=self.app.url)
        self.client = Client(self.app.url)
        self.asynchronous = Blocking(self.app.url)
        self.ids: dict[str, str] = {}
        self.batch_id = self.cron_id = ""
        self._interrupt()
        feeds = [self._socket(), self._frames()]
        with feeds[0] as socket, feeds[1] as frames:
            next(socket), next(frames)  # the snapshots: all later events are received
            self._end()
            self._wait()
            self.events = {"/ws": self._heard(socket), "/api/events": self._heard(frames)}

    def close(self) -> None:
        self.asynchronous.end()
        self.client.close()
        self.http.close()
        self.manager.close(grace_s=0)
        self.app.end()
        self.fake.refuse()

    # --- the states -----------------------------------------------------------------------------

    def submit(self, state: str, **fields: Any) -> str:
        self.ids[state] = self.manager.submit_task(new(state, **fields))
        return self.ids[state]

    def run(self, state: str, *behaviours: Any, **fields: Any) -> None:
        self.fake.script(*behaviours)
        self.manager.wait(self.submit(state, **fields), timeout=PATIENCE_S)

    def _interrupt(self) -> None:
        """Make a task whose first run was cut by a crash of the queue."""
        self.fake.script(Hang(), Stream())
        self.submit("interrupted")
        self.fake.wait_for_calls(1)
        now, nonsense = self.manager._switchboard.current(), "no message at all"
        tell(now.bus, nonsense)
        self.manager._switchboard.after(now, PATIENCE_S)
        self.manager.wait(self.ids["interrupted"], timeout=PATIENCE_S)

    def _end(self) -> None:
        self.run("completed")
        self.run("failed", *failures(), max_retries=1)
        batch = self.manager.submit_batch([new("batch")])
        self.batch_id, (self.ids["batch"],) = batch.batch_id, batch.task_ids
        cron = {"name": "c", "cron_expr": "@yearly", "task_template": {**PAYLOAD, "tags": ["cron"]}}
        self.cron_id = self.manager.add_cron_task(cron)
        self.ids["cron"] = self.manager.run_cron_task(self.cron_id).task_id
        for state in ("batch", "cron"):
            self.manager.wait(self.ids[state], timeout=PATIENCE_S)
        self.submit("cancelled", scheduled_at=LATER)
        self.manager.cancel_task(self.ids["cancelled"])
        self.manager.pause()
        self.run("expired", start_within=0.001)
        self.manager.resume()

    def _wait(self) -> None:
        """Make the tasks that have not ended; nothing changes afterwards."""
        events = self.manager.subscribe(["task_retrying"])
        self.fake.script(*failures(), Hang())
        self.submit("retry", max_retries=2)
        for _ in failures():
            events.get(PATIENCE_S)
        events.close()
        calls = len(self.fake.calls)
        self.submit("running", backend="ollama")
        self.fake.wait_for_calls(calls + 1)
        self.submit("first")
        self.submit("slot", tenant="acme", deadline=LATEST)
        fields: dict[str, Any] = {"priority": 10, "timeout_s": 30.0, "start_within": 600.0}
        fields["fallback_models"] = ["tiny", "none"]
        self.submit("schedule", scheduled_at=LATER, **fields)
        fields = {"remote_execution": True, "fallback_models": []}
        self.submit("backend", model="unheard-of", **fields)  # the last one

    def waiting(self, state: str) -> Waiting:
        """What the core knows of a state's task."""
        asked = Explain((self.ids[state],))
        found: Waiting = ask(self.manager._now().scheduler, asked)[self.ids[state]]
        return found

    # --- the feeds ------------------------------------------------------------------------------

    @contextmanager
    def _socket(self) -> Iterator[Iterator[Json]]:
        """The messages of `/ws`."""
        socket = Socket()
        talks = threading.Thread(
            target=run_session, args=(socket, self.manager, FeedBroadcaster(self.manager))
        )
        talks.start()
        yield (socket.sent.get(timeout=PATIENCE_S) for _ in iter(int, 1))
        socket.received.put(None)
        talks.join(PATIENCE_S)

    @contextmanager
    def _frames(self) -> Iterator[Iterator[Json]]:
        """The messages of `/api/events`, in the form of `/ws`."""
        with self.http.stream("GET", "/api/events", timeout=PATIENCE_S) as answer:
            parser = sse.Parser()
            yield (
                {"type": frame.event, **json.loads(frame.data)}
                for data in answer.iter_bytes()
                for frame in parser.feed(data)
                if frame.data
            )

    def _heard(self, feed: Iterator[Json]) -> dict[str, Json]:
        """The last event of each task, up to the submit of the last task."""
        newest: dict[str, Json] = {}
        while self.ids["backend"] not in newest:
            message = next(feed)
            if message["type"] == "event" and message["task"]:
                newest[message["task"]["id"]] = message["task"]
        return newest

    def snapshot(self, feed: str) -> list[Json]:
        with self._socket() if feed == "/ws" else self._frames() as heard:
            tasks: list[Json] = next(heard)["tasks"]
        return tasks

    def command(self, *args: str) -> Any:
        """The JSON output of an `ollama-queue` command."""
        done = run_cli(lambda _: nullcontext(self.client), *args, "--output", "json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)


def new(state: str, **fields: Any) -> NewTask:
    model = fields.pop("model", "smollm2")
    about: dict[str, Any] = {"tags": [state], "metadata": {"of": state}, "options": {"seed": 7}}
    return generate_task(model, state, **about, **fields)


def failures() -> list[Answer]:
    return [Answer(500, {"error": words}) for words in ("one thing", "another")]


def as_json(records: Any) -> Any:
    """Convert records to their form on the wire."""
    return json.loads(msgspec.json.encode(records))
