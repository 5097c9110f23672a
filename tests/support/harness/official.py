"""A queue server in front of a fake model server, for the official client of a maker."""

from pathlib import Path

from ollama_queue import Client, Task
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer


class OfficialHarness:
    """`kind` is that of the model server: "ollama" or "openai"."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.kind = kind
        self.model = FakeOllama().lists("m", "org/model:8b")
        url = self.model.openai_url if kind == "openai" else self.model.url
        self.server = QueueServer(folder, url, workers=1, kind=kind)
        self.server.start()
        self.queue: Client = self.server.client()

    def newest(self) -> Task:
        (task,) = self.queue.list_tasks({"limit": 1})
        return self.queue.get_task(task.id)

    def close(self) -> None:
        self.queue.close()
        self.server.stop()
        self.model.refuse()
