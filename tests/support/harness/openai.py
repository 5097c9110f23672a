"""A queue server, and OpenAI's official client for it."""

from pathlib import Path
from typing import Any

import openai

from ollama_queue import Client
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer

HI: Any = [{"role": "user", "content": "hi"}]


class OpenAIHarness:
    """A queue server in front of a model server of one kind, and clients of both APIs."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.model = FakeOllama().lists("m", "org/model:8b")
        url = self.model.openai_url if kind == "openai" else self.model.url
        self.server = QueueServer(folder, url, workers=1, kind=kind)
        self.server.start()
        self.base_url = f"{self.server.base_url}/v1"
        self.client = openai.OpenAI(base_url=self.base_url, api_key="none", max_retries=0)
        self.queue: Client = self.server.client()

    def newest(self) -> Any:
        (task,) = self.queue.list_tasks({"limit": 1})
        return self.queue.get_task(task.id)

    def close(self) -> None:
        self.client.close()
        self.queue.close()
        self.server.stop()
        self.model.refuse()


def chat(house: OpenAIHarness, client: openai.OpenAI | None = None, **more: Any) -> Any:
    asked = client or house.client
    return asked.chat.completions.create(model="m", messages=HI, **more)
