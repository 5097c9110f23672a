"""Responses by OpenAI's official client, before model servers that nobody here wrote.

Their model is nonsense-grade: shapes, counts and order are looked at, never what it says.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai as official
import pytest

from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import Server, kind_of

PATIENCE_S = 60.0
YES_OR_NO = {
    "type": "object",
    "properties": {"answer": {"enum": ["yes", "no"]}},
    "required": ["answer"],
}


@pytest.fixture
def client(server: Server, tmp_path: Path) -> Iterator[official.OpenAI]:
    process = QueueServer(tmp_path, server.url, workers=1, kind=kind_of(server))
    base = f"{process.base_url}/v1"
    with (
        process,
        official.OpenAI(base_url=base, api_key="none", timeout=PATIENCE_S) as made,
    ):
        yield made


def test_responses_waited_for_and_in_the_background(
    client: official.OpenAI, server: Server
) -> None:
    asked: Any = {"model": server.model, "input": "Say hello.", "temperature": 0.0}
    whole = client.responses.create(**asked, max_output_tokens=6)
    events = list(client.responses.create(**asked, max_output_tokens=6, stream=True))

    assert whole.status == "incomplete"
    assert whole.incomplete_details is not None
    assert whole.incomplete_details.reason == "max_output_tokens"
    assert whole.output_text.strip()
    assert whole.usage is not None
    assert whole.usage.output_tokens == 6
    deltas = [each.delta for each in events if each.type == "response.output_text.delta"]
    assert len(deltas) > 2
    last: Any = events[-1]
    assert last.type == "response.incomplete"
    assert "".join(deltas) == last.response.output_text
    assert [each.sequence_number for each in events] == list(range(len(events)))

    schema: Any = {"format": {"type": "json_schema", "name": "n", "schema": YES_OR_NO}}
    started = client.responses.create(**asked, text=schema, max_output_tokens=60, background=True)
    told = list(client.responses.retrieve(started.id, stream=True))
    ended = client.responses.retrieve(started.id)
    assert ended.status == "completed"
    assert "".join(ended.output_text.split()) in ('{"answer":"yes"}', '{"answer":"no"}')
    assert told[1].type == "response.queued"
    for after in (3, len(told) - 3):
        again = client.responses.retrieve(started.id, stream=True, starting_after=after)
        assert list(again) == told[after + 1 :]

    endless = client.responses.create(**asked, max_output_tokens=1000, background=True)
    server.wait_until_busy(PATIENCE_S)
    assert client.responses.cancel(endless.id).status == "cancelled"
    server.wait_until_idle(20)
    assert client.responses.retrieve(endless.id).status == "cancelled"
