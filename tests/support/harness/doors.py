"""Access to a queue with one worker: by `QueueManager`, by a client of the real app, or by a client
of one server among several."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

import httpx
import pytest

from ollama_queue import BatchSubmitted, Client, Config, NewTask, QueueManager, generate_task
from ollama_queue.actors.api.queue_api import QueueAPI
from ollama_queue.actors.base.actor import tell
from ollama_queue.actors.core.config import config
from ollama_queue.http.serving.app import create_app
from tests.support.blocking_client import AppServer, Blocking
from tests.support.fakes.model_server import FakeOllama, Hang
from tests.support.servers.standing_fleet import StandingFleet

PATIENCE_S = 10.0
NOBODY = "01a20000-0000-7000-8000-000000000000"
EMBEDDED = ("QueueManager", "Client", "AsyncClient")
in_this_process = pytest.mark.parametrize("kind", EMBEDDED)  # whose door is an `EmbeddedDoor`


class Door:
    """A queue through an interface as `queue`, and past it as `direct`; its model server."""

    fake: FakeOllama
    queue: QueueAPI
    direct: QueueAPI
    workers = 1

    def run(self, new: NewTask) -> Any:
        """Submit a task and wait for its end."""
        return self.queue.wait(self.queue.submit_task(new), timeout=PATIENCE_S)

    def busy(self) -> str:
        """Submit a task that runs until it is stopped."""
        before = len(self.fake.calls)
        self.fake.script(Hang())
        task_id = self.queue.submit_task(ask("hang"))
        self.fake.wait_for_calls(before + 1)
        return task_id

    def boot(self) -> object:
        """Which generation of actors answers: another one after each crash."""
        raise NotImplementedError

    def reboot(self) -> None:
        """Restart all actors from what is stored."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class EmbeddedDoor(Door):
    """A queue in this process, by itself or behind a client of the app."""

    def __init__(self, kind: str, folder: Path, **limits: Any) -> None:
        self.fake = FakeOllama()
        self.manager = QueueManager(
            Config(
                ollama=config.OllamaSettings(host=self.fake.url),
                queue=config.QueueSettings(storage_path=str(folder), max_workers=1, **limits),
                callbacks=config.CallbackSettings(allowed_networks=["127.0.0.1"]),
                retry_config=config.RetrySettings(
                    max_retries=2, initial_delay=0.01, max_delay=0.02
                ),
            )
        ).start()
        self.queue = self.direct = self.manager
        self._client: Blocking | None = None
        self._server: AppServer | None = None
        if kind == "Client":
            transport = httpx.WSGITransport(app=create_app(self.manager))
            self.queue = Client("http://localhost:7125", transport=transport)
        if kind == "served Client":
            self._server = AppServer.of(self.manager)
            self.queue = Client(self._server.url)
        if kind == "AsyncClient":
            self._server = AppServer.of(self.manager)
            self._client = Blocking(self._server.url)
            self.queue = cast(QueueAPI, self._client)

    def boot(self) -> object:
        return self.manager._switchboard.current()

    def reboot(self) -> None:
        """Send the event bus an invalid message: all actors restart from disk."""
        switchboard = self.manager._switchboard
        now = switchboard.current()
        nonsense: Any = "no message at all"
        tell(now.bus, nonsense)
        switchboard.after(now, PATIENCE_S)

    def close(self) -> None:
        if self._client is not None:
            self._client.end()
        self.manager.close(grace_s=0)
        if self._server is not None:
            self._server.end()
        self.fake.refuse()


class FollowerDoor(Door):
    """A server that follows, behind `Client`; `direct` is the one that leads."""

    workers = 2  # of which one works at a time

    def __init__(self, fleet: StandingFleet) -> None:
        self._fleet = fleet
        self.fake = FakeOllama(port=fleet.port)
        fleet.begin()
        self.queue, self.direct = fleet.follower.client(), fleet.leader.client()

    def boot(self) -> object:
        return self._fleet.epoch(), self._fleet.crashes()

    def reboot(self) -> None:
        self._fleet.reboot()

    def close(self) -> None:
        self.queue.close()
        self.direct.close()
        self._fleet.end()
        self.fake.refuse()


def ask(prompt: str = "hi", **fields: Any) -> NewTask:
    return generate_task("smollm2", prompt, **fields)


WITH_AN_ID: list[Callable[[QueueAPI, str], Any]] = [
    lambda queue, task_id: queue.get_task(task_id),
    lambda queue, task_id: queue.get_task(task_id, wait=1.0),
    lambda queue, task_id: queue.get_task_status(task_id),
    lambda queue, task_id: queue.wait(task_id, timeout=1.0),
    lambda queue, task_id: queue.cancel_task(task_id),
    lambda queue, task_id: queue.update_task_priority(task_id, 5),
    lambda queue, task_id: queue.retry_task(task_id),
    lambda queue, task_id: queue.delete_task(task_id),
    lambda queue, task_id: queue.on_end(task_id, print),
    lambda queue, task_id: list(queue.stream_task(task_id, timeout=1.0) or ()),
]

VERBS: list[Callable[[QueueAPI], Any]] = [
    lambda queue: queue.submit(ask()),
    lambda queue: queue.submit_task(ask()),
    lambda queue: queue.submit_batch([ask()]),
    lambda queue: queue.submit_batch_tasks([ask()]),
    lambda queue: list(queue.as_completed([NOBODY], timeout=0.1) or ()),
    lambda queue: queue.wait_batch(NOBODY),
    lambda queue: queue.wait_batch(BatchSubmitted(NOBODY, [NOBODY]), timeout=0.1),
    lambda queue: queue.submit_scheduled_task(ask(), datetime.now(UTC)),
    lambda queue: queue.submit_batch_tasks_async([ask()], print),
    lambda queue: queue.submit_scheduled_batch_tasks_async([ask()], datetime.now(UTC)),
    lambda queue: queue.get_batch(NOBODY),
    lambda queue: queue.list_batches(),
    lambda queue: queue.cancel_batch(NOBODY),
    lambda queue: list(queue.submit_streaming_task(ask()) or ()),
    lambda queue: queue.submit_task_with_callback(ask(), print),
    lambda queue: queue.submit_task_with_channel(ask(), SimpleQueue()),
    lambda queue: queue.subscribe(),
    lambda queue: queue.list_page(),
    lambda queue: queue.list_tasks(),
    lambda queue: queue.get_queue_stats(),
    lambda queue: queue.get_history(),
    lambda queue: queue.get_usage(),
    lambda queue: queue.list_audit(),
    lambda queue: queue.list_failures(),
    lambda queue: queue.list_deliveries(),
    lambda queue: queue.retry_delivery("msg_0"),
    lambda queue: queue.list_keys(),
    lambda queue: queue.add_key({"name": "ops", "role": "admin"}),
    lambda queue: queue.rotate_key("ops"),
    lambda queue: queue.revoke_key("ops"),
    lambda queue: queue.take_snapshot(),
    lambda queue: queue.cancel_tasks([NOBODY]),
    lambda queue: queue.retry_tasks([NOBODY]),
    lambda queue: queue.delete_tasks(filter={}),
    lambda queue: queue.reprioritize_tasks([NOBODY], priority=5),
    lambda queue: queue.list_backends(),
    lambda queue: queue.list_servers(),
    lambda queue: queue.drain_backend("ollama"),
    lambda queue: queue.resume_backend("ollama"),
    lambda queue: queue.load_model("ollama", "smollm2"),
    lambda queue: queue.unload_model("ollama", "smollm2"),
    lambda queue: queue.pause(),
    lambda queue: queue.resume(),
    *[lambda queue, verb=verb: verb(queue, NOBODY) for verb in WITH_AN_ID],
]
