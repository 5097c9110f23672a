"""What official clients talk to: a queue server by itself, or one that follows."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TypeVar

import pytest

from ollama_queue import Client, Task
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.standing_fleet import StandingFleet

SITES = ("ollama", "openai", "follower")  # kinds of model servers, and a server that follows


class Site:
    """A queue server with one worker, the `model` server of that `kind` behind it, and a client."""

    def __init__(self, model: FakeOllama, server: QueueServer, kind: str) -> None:
        self.model, self.server, self.kind = model, server, kind
        self.queue: Client = server.client()

    def newest(self) -> Task:
        (task,) = self.queue.list_tasks({"limit": 1})
        return self.queue.get_task(task.id)

    def close(self) -> None:
        self.queue.close()


S = TypeVar("S", bound=Site)


@contextmanager
def open_site(
    request: pytest.FixtureRequest,
    make: Callable[[FakeOllama, QueueServer, str], S],
    *models: str,
    loaded: Sequence[str] = (),
) -> Iterator[S]:
    """Open what the parameter of a fixture, one of `SITES`, names."""
    kind: str = request.param
    if kind == "follower":
        fleet: StandingFleet = request.getfixturevalue("standing_fleet")
        with FakeOllama(port=fleet.port).lists(*models, loaded=loaded) as model:
            fleet.begin()
            with closing(make(model, fleet.follower, "ollama")) as site:
                yield site
            fleet.end()
    else:
        folder = request.getfixturevalue("tmp_path_factory").mktemp("server")
        with FakeOllama().lists(*models, loaded=loaded) as model:
            url = model.openai_url if kind == "openai" else model.url
            with (
                QueueServer(folder, url, workers=1, kind=kind) as server,
                closing(make(model, server, kind)) as site,
            ):
                yield site
