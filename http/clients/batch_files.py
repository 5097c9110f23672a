"""The files of batches over HTTP, for the command line: uploaded and read in pieces."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import httpx
import msgspec

from ...actors.api.threads import Threads
from ...actors.core.model.tasks import Batch
from .. import routes, wire
from . import address, connection, protocol, requests
from .connections import Connections

PIECE = 256 << 10
PATIENCE_S = 300.0


class _NewBatch(msgspec.Struct):
    """What the server answers: the rest is asked of the queue's own routes."""

    id: str


class BatchFiles:
    """Creates batches on a server and reads their files. Raises `QueueError`."""

    def __init__(
        self,
        url: str,
        transport: httpx.BaseTransport | None = None,
        api_key: str | None = None,
    ) -> None:
        self.url = address.full(url)
        key = address.usual_key(api_key)
        options = connection.options(self.url, PATIENCE_S, transport)
        headers = {"User-Agent": wire.CLI, **connection.key_headers(self.url, key)}
        self._http = httpx.Client(**options, headers=headers)
        self._connections = Connections(self.url, PATIENCE_S, transport, key, wire.CLI)

    def close(self) -> None:
        self._http.close()
        self._connections.close()

    def upload(self, name: str, file: IO[bytes]) -> str:
        """Upload a batch's file; returns its id."""
        with self._errors():
            parts = {"file": (name, file)}
            answer = self._http.post(wire.FILES, data={"purpose": "batch"}, files=parts)
            return msgspec.json.decode(_checked(answer).content, type=_NewBatch).id

    def create(self, fields: dict[str, Any], fallback_models: Sequence[str] | None = None) -> Batch:
        """Create a batch, with the fields of `POST /v1/batches` and fallbacks for each line; one,
        also if an answer is lost."""
        new = requests.create_batch(fields, fallback_models, _NewBatch)
        threads = Threads(self._connections.takes)
        batch_id = threads.run(protocol.ask(new)).id
        return threads.run(protocol.ask(requests.build(routes.GET_BATCH, batch_id)))

    def content(self, file_id: str) -> Iterator[bytes]:
        """The bytes of a file."""
        path = f"{wire.FILES}/{file_id}/content"
        with self._errors(), self._http.stream("GET", path) as answer:
            if not answer.is_success:
                answer.read()
            yield from _checked(answer).iter_bytes(PIECE)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise connection.lost(self.url, error) from None


def _checked(answer: httpx.Response) -> httpx.Response:
    if not answer.is_success:
        raise connection.refusal(answer)
    return answer
