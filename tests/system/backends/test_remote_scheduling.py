"""Work that goes to a remote server: because a task says so, or because the local one is busy."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_queue import Config, QueueManager, generate_task
from ollama_queue.actors.core.config import config
from tests.support.fakes.model_server import FakeOllama, Hang
from tests.support.harness.doors import PATIENCE_S


class Pair:
    """A local Ollama with one slot, and a remote server that speaks OpenAI's words."""

    def __init__(self, folder: Path) -> None:
        self.local, self.remote = FakeOllama(), FakeOllama()
        # Its models are named, so that the first task need not wait for a look at it.
        here = config.Backend(name="here", url=self.local.url, parallel=1, models=["smollm2"])
        there = config.Endpoint(name="there", base_url=self.remote.openai_url)
        self.queue = QueueManager(
            Config(
                backends=[here],
                queue=config.QueueSettings(storage_path=str(folder)),
                remote_scheduling=config.RemoteScheduling(enabled=True, endpoints=[there]),
            )
        ).start()

    def ran_on(self, **fields: bool) -> str | None:
        task_id = self.queue.submit_task(generate_task("smollm2", "hi", **fields))
        return self.queue.wait(task_id, timeout=PATIENCE_S).executed_on

    def close(self) -> None:
        self.queue.close(grace_s=0)
        self.local.refuse()
        self.remote.refuse()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    made.close()


def test_a_task_runs_where_it_says(pair: Pair) -> None:
    assert pair.ran_on() == "here"
    assert pair.ran_on(remote_execution=True) == "there"
    assert [call.path for call in pair.remote.calls] == ["/v1/chat/completions"]


def test_what_the_local_server_has_no_room_for_goes_to_the_remote_one(pair: Pair) -> None:
    pair.local.script(Hang())
    pair.queue.submit_task(generate_task("smollm2", "hang"))
    pair.local.wait_for_calls(1)

    assert pair.ran_on() == "there"


def test_a_remote_server_that_is_away_is_stood_in_for(pair: Pair) -> None:
    pair.remote.refuse()

    assert pair.ran_on(remote_execution=True) == "here"
