"""A blocking wrapper of `AsyncClient` for synchronous tests, and the app on a real port."""

import asyncio
import inspect
import io
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from ollama_queue import AsyncClient, Chunk, Event
from ollama_queue.actors.api.task_stream import AsyncTaskStream
from ollama_queue.actors.embedded.manager import QueueManager
from ollama_queue.http.clients.event_loop import AsyncSubscription
from ollama_queue.http.serving.app import create_app


class Blocking:
    """The verbs of an `AsyncClient` in another thread's event loop; each blocks until it is done.
    Callbacks run in their own thread, so that they may call verbs too."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._callbacks = ThreadPoolExecutor(1)
        self.client = AsyncClient(url)

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        found = getattr(self.client, verb)

        def call(*args: Any, **options: Any) -> Any:
            return self._done(found(*map(self._given, args), **options))

        return call

    def end(self) -> None:
        self.run(self.client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._callbacks.shutdown()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _given(self, value: Any) -> Any:
        if isinstance(value, BlockingSubscription):
            return value.subscription
        if not callable(value):
            return value
        return lambda result: self._loop.run_in_executor(self._callbacks, value, result)

    def _done(self, result: Any) -> Any:
        if isinstance(result, AsyncTaskStream):
            return BlockingStream(self, result)
        if inspect.isasyncgen(result):
            return self.each(result)
        if inspect.iscoroutine(result):
            result = self.run(result)
        if isinstance(result, AsyncSubscription):
            return BlockingSubscription(self, result)
        return result

    def each(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        nothing = object()

        async def following() -> Any:
            return await anext(items, nothing)

        while (item := self.run(following())) is not nothing:
            yield item


class BlockingStream:
    def __init__(self, client: Blocking, stream: AsyncTaskStream) -> None:
        self._client, self._stream = client, stream
        self._chunks = client.each(stream)

    @property
    def task_id(self) -> str | None:
        return self._stream.task_id

    def __iter__(self) -> Iterator[Chunk]:
        return self._chunks

    def __next__(self) -> Chunk:
        found: Chunk = next(self._chunks)
        return found

    def close(self) -> None:
        self._client.run(self._stream.aclose())


class BlockingSubscription:
    def __init__(self, client: Blocking, subscription: AsyncSubscription) -> None:
        self._client, self.subscription = client, subscription

    def get(self, timeout: float | None = None) -> Event:
        found: Event = self._client.run(self.subscription.get(timeout))
        return found

    def close(self) -> None:
        self._client.run(self.subscription.close())

    def __iter__(self) -> Iterator[Event]:
        return self._client.each(aiter(self.subscription))


class AppServer(ThreadingMixIn, WSGIServer):
    """The app over a queue, on a free loopback port, with a thread per request."""

    daemon_threads = True
    request_queue_size = 128

    @classmethod
    def of(cls, manager: QueueManager) -> "AppServer":
        app = create_app(manager)

        def whole(environ: dict[str, Any], start: Any) -> Any:
            """Limit the input to the body: wsgiref's has no end."""
            length = int(environ.get("CONTENT_LENGTH") or 0)
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
            return app(environ, start)

        server = make_server("127.0.0.1", 0, whole, cls, _Quiet)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors: many tests disconnect clients."""

    def end(self) -> None:
        self.shutdown()
        self.server_close()


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Log nothing."""
