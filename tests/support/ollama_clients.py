"""Ollama's official client for the route tests: sync and async with the same interface."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ollama
import pytest

from ollama_queue import Client

HI = [{"role": "user", "content": "hi"}]
Ask = Callable[..., Any]


def sync(
    url: str, verb: str, *args: Any, headers: Any = None, seen: Any = None, **options: Any
) -> Any:
    """Call a verb; a stream's parts come as a list. `seen` is an event to set at each part."""
    seen = seen or threading.Event()
    with ollama.Client(url, headers=headers) as client:
        answer = getattr(client, verb)(*args, **options)
        return [part for part in answer if not seen.set()] if options.get("stream") else answer


def asynchronous(
    url: str, verb: str, *args: Any, headers: Any = None, seen: Any = None, **options: Any
) -> Any:
    seen = seen or threading.Event()

    async def asked() -> Any:
        async with ollama.AsyncClient(url, headers=headers) as client:
            answer = await getattr(client, verb)(*args, **options)
            if not options.get("stream"):
                return answer
            return [part async for part in answer if not seen.set()]

    return asyncio.run(asked())


def newest(queue: Client) -> Any:
    (task,) = queue.list_tasks({"limit": 1})
    return task


def failure(ask: Ask, verb: str, *args: Any, **options: Any) -> tuple[int, str]:
    with pytest.raises(ollama.ResponseError) as caught:
        ask(verb, *args, **options)
    return caught.value.status_code, caught.value.error


@contextmanager
def paused(queue: Client) -> Iterator[None]:
    queue.pause()
    try:
        yield
    finally:
        queue.resume()
