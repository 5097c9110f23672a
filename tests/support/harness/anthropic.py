"""A queue server, and Anthropic's official clients for it."""

import asyncio
from collections.abc import Callable
from typing import Any

import anthropic

from tests.support.fakes.model_server import FakeOllama
from tests.support.harness.site import Site
from tests.support.servers.queue_server import QueueServer

HI: Any = [{"role": "user", "content": "hi"}]
Say = Callable[..., Any]


class AnthropicHarness(Site):
    def __init__(self, model: FakeOllama, server: QueueServer, kind: str) -> None:
        super().__init__(model, server, kind)
        self.path = "/v1/chat/completions" if kind == "openai" else "/api/chat"
        self.base_url = server.base_url
        self.client = anthropic.Anthropic(base_url=self.base_url, api_key="none", max_retries=0)

    def close(self) -> None:
        self.client.close()
        super().close()


def filled(fields: dict[str, Any]) -> Any:
    return {"model": "m", "max_tokens": 9, "messages": HI, **fields}


def sync(url: str, **fields: Any) -> tuple[Any, list[Any]]:
    """The message, and the events with which it came: none if it was not streamed."""
    stream = fields.pop("stream", False)
    with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as client:
        if not stream:
            return client.messages.create(**filled(fields)), []
        with client.messages.stream(**filled(fields)) as events:
            seen = list(events)
            return events.get_final_message(), seen


def asynchronous(url: str, **fields: Any) -> tuple[Any, list[Any]]:
    async def asked() -> tuple[Any, list[Any]]:
        stream = fields.pop("stream", False)
        async with anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0) as client:
            if not stream:
                return await client.messages.create(**filled(fields)), []
            async with client.messages.stream(**filled(fields)) as events:
                seen = [event async for event in events]
                return await events.get_final_message(), seen

    return asyncio.run(asked())
