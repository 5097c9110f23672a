"""The HTTP app over a real queue, with two tenants and an admin, each with a key of their own."""

from pathlib import Path
from typing import Any

import httpx

from ollama_queue import Config, QueueManager
from ollama_queue.actors.core.access.keys import Grant, digest_of, grant_of
from ollama_queue.actors.core.config import config
from ollama_queue.actors.core.model.access_keys import KeyRules, Role
from ollama_queue.http.access.access_control import AccessControl
from ollama_queue.http.serving.app import QueueApp, create_app
from tests.support.fakes.model_server import FakeOllama

ANN, BOB, OPS, EYE = (f"oq_{name}_{name * 10}" for name in ("ann", "bob", "ops", "eye"))


def grant(key: str, **rules: Any) -> Grant:
    return grant_of(key.split("_")[1], digest_of(key), KeyRules(**rules))


def grants(**rules: Any) -> list[Grant]:
    """Ann and Bob are users, Ops is an admin, Eye reads what Ann has; `rules` are Ann's."""
    return [
        grant(ANN, **rules),
        grant(BOB),
        grant(OPS, role=Role.ADMIN),
        grant(EYE, role=Role.READER, tenant="ann"),
    ]


class TenantsHarness:
    """`client(KEY)` is a client with that key; None: without."""

    def __init__(self, folder: Path, *, keys: list[Grant] | None = None, **options: Any) -> None:
        self.fake = FakeOllama()
        self.queue = QueueManager(
            Config(
                ollama=config.OllamaSettings(host=self.fake.url),
                queue=config.QueueSettings(storage_path=str(folder), max_workers=2),
                **options,
            )
        ).start()
        self.delays: list[float] = []
        self.access = AccessControl(grants() if keys is None else keys, sleep=self.delays.append)
        self.app: QueueApp = create_app(self.queue, access=self.access)

    def client(self, key: str | None, **headers: str) -> httpx.Client:
        if key is not None:
            headers = {"Authorization": f"Bearer {key}", **headers}
        transport = httpx.WSGITransport(app=self.app)
        return httpx.Client(transport=transport, base_url="http://127.0.0.1:7125", headers=headers)

    def close(self) -> None:
        self.queue.close(grace_s=0)
        self.fake.refuse()
