"""A queue server, and OpenAI's official client for it."""

from pathlib import Path
from typing import Any

import openai

from tests.support.harness.official import OfficialHarness

HI: Any = [{"role": "user", "content": "hi"}]


class OpenAIHarness(OfficialHarness):
    """And clients of both APIs."""

    def __init__(self, folder: Path, kind: str) -> None:
        super().__init__(folder, kind)
        self.base_url = f"{self.server.base_url}/v1"
        self.client = openai.OpenAI(base_url=self.base_url, api_key="none", max_retries=0)

    def close(self) -> None:
        self.client.close()
        super().close()


def chat(house: OpenAIHarness, client: openai.OpenAI | None = None, **more: Any) -> Any:
    asked = client or house.client
    return asked.chat.completions.create(model="m", messages=HI, **more)
