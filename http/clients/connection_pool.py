"""The connections of `AsyncClient`: one per concurrent request, kept for reuse."""

import ssl
from collections.abc import AsyncIterator

import httpx

KEPT = 20  # idle connections


class ConnectionPool(httpx.AsyncBaseTransport):
    """A pool with one connection per concurrent request.

    httpx's own pool scans all of its connections at each request, which takes most of the time when
    a hundred tasks wait. `verify` is a TLS context, or whether to check certificates.
    """

    def __init__(self, verify: ssl.SSLContext | bool) -> None:
        self._context = verify
        self._all: set[httpx.AsyncHTTPTransport] = set()
        self._idle: list[httpx.AsyncHTTPTransport] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        connection = self._idle.pop() if self._idle else self._new()
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            await self._take_back(connection)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _PooledBody(response.stream, self, connection)
        return response

    async def aclose(self) -> None:
        for connection in tuple(self._all):
            await connection.aclose()

    def _new(self) -> httpx.AsyncHTTPTransport:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        connection = httpx.AsyncHTTPTransport(verify=self._context, trust_env=False, limits=limits)
        self._all.add(connection)
        return connection

    async def _take_back(self, connection: httpx.AsyncHTTPTransport) -> None:
        if len(self._idle) < KEPT:
            self._idle.append(connection)
            return
        self._all.discard(connection)
        await connection.aclose()


class _PooledBody(httpx.AsyncByteStream):
    """The body of a response. Closing it returns its connection to the pool."""

    def __init__(
        self,
        body: httpx.AsyncByteStream,
        pool: ConnectionPool,
        connection: httpx.AsyncHTTPTransport,
    ) -> None:
        self._body, self._pool, self._connection = body, pool, connection
        self._is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            yield part

    async def aclose(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            await self._body.aclose()
            await self._pool._take_back(self._connection)
