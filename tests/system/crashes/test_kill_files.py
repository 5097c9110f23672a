"""`kill -9` while files come and go: each that was acknowledged is there whole, nothing else is."""

import os
import random
import threading
from pathlib import Path

import openai

from ollama_queue.actors.files.blobs import FOLDER
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer
from tests.system.crashes.test_kill9 import SEED

KILLS = max(3, int(os.environ.get("OLLAMA_QUEUE_KILLS", "20")) // 4)
USERS = 3


class FileLoad:
    """Users who upload and delete; what they were told is what is checked."""

    def __init__(self, url: str, seed: int) -> None:
        self.url, self.chance = url, random.Random(seed)
        self.kept: dict[str, bytes] = {}
        self.deleted: set[str] = set()
        self.doubtful: set[str] = set()  # a delete without an answer
        self.over, self.some = threading.Event(), threading.Event()

    def user(self) -> None:
        with openai.OpenAI(base_url=self.url, api_key="x", max_retries=0, timeout=5) as client:
            while not self.over.is_set():
                try:
                    self.act(client)
                except openai.APIError:
                    self.over.wait(0.02)

    def act(self, client: openai.OpenAI) -> None:
        data = self.chance.randbytes(self.chance.choice([10, 1000, 3_000_000]))
        file_id = client.files.create(file=data, purpose="batch").id
        self.kept[file_id] = data
        self.some.set()
        if self.chance.random() < 0.4:
            self.doubtful.add(file_id)
            client.files.delete(file_id)
            self.deleted.add(file_id)


def test_files_and_their_records_stay_together(tmp_path: Path) -> None:
    print(f"OLLAMA_QUEUE_SEED={SEED}")
    with FakeOllama() as model:
        server = QueueServer(tmp_path, model.url)
        server.start()
        load = FileLoad(f"{server.base_url}/v1", SEED)
        chance = random.Random(SEED)
        for _ in range(KILLS):
            load.over.clear()
            load.some.clear()
            users = [threading.Thread(target=load.user) for _ in range(USERS)]
            for user in users:
                user.start()
            assert load.some.wait(20)
            load.over.wait(chance.random() * 0.3)
            server.kill()
            load.over.set()
            for user in users:
                user.join()
            server.start()
            check(server, load)
        server.stop()


def check(server: QueueServer, load: FileLoad) -> None:
    """Each record has its bytes, all bytes have a record, and what was acknowledged holds."""
    with openai.OpenAI(base_url=load.url, api_key="x", max_retries=0) as client:
        there = {file.id: file.bytes for file in client.files.list()}
        names = {
            path.name: path.stat().st_size for path in (server.folder / "data" / FOLDER).iterdir()
        }
        assert there == names
        assert not load.deleted & there.keys()
        assert load.kept.keys() - load.doubtful <= there.keys()
        for file_id in load.kept.keys() & there.keys():
            assert client.files.content(file_id).read() == load.kept[file_id]
        for file_id in there:  # begin anew, so that the checks stay quick
            client.files.delete(file_id)
        load.deleted |= there.keys()
        load.doubtful |= there.keys()
