"""A queue server, and OpenAI's official client for it."""

from contextlib import AbstractContextManager
from typing import Any

import openai
import pytest

from tests.support.fakes.model_server import FakeOllama
from tests.support.harness.site import Site, open_site
from tests.support.servers.queue_server import QueueServer

HI: Any = [{"role": "user", "content": "hi"}]


class OpenAIHarness(Site):
    def __init__(self, model: FakeOllama, server: QueueServer, kind: str) -> None:
        super().__init__(model, server, kind)
        self.base_url = f"{server.base_url}/v1"
        self.client = openai.OpenAI(base_url=self.base_url, api_key="none", max_retries=0)

    def close(self) -> None:
        self.client.close()
        super().close()


def open_openai(request: pytest.FixtureRequest) -> AbstractContextManager[OpenAIHarness]:
    return open_site(request, OpenAIHarness, "m", "org/model:8b")


def chat(house: OpenAIHarness, client: openai.OpenAI | None = None, **more: Any) -> Any:
    asked = client or house.client
    return asked.chat.completions.create(model="m", messages=HI, **more)
