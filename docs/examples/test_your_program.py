"""Tests of a program that uses a queue: no server, no model. Run it with pytest."""

from collections.abc import Iterator

import pytest

from ollama_queue import QueueAPI, chat_task, generate_task
from ollama_queue.testing import InMemoryQueue, ModelCall

# --- the program, normally in a separate file --------------------------------------------------


def headlines(queue: QueueAPI, articles: list[str]) -> list[str]:
    """One headline per article; "(none)" if the model failed."""
    tasks = [
        chat_task("qwen3", [{"role": "user", "content": f"A headline for: {article}"}])
        for article in articles
    ]
    results = queue.submit_batch_tasks(tasks, timeout=300)
    return [each.result["message"]["content"] if each.success else "(none)" for each in results]


def tell(queue: QueueAPI, prompt: str) -> str:
    """Read a story as it is generated."""
    story = ""
    for chunk in queue.submit_streaming_task(generate_task("qwen3", prompt), timeout=300):
        if chunk.restart:
            story = ""
        elif chunk.data is not None:
            story += chunk.data["response"]
    return story


# --- its tests ----------------------------------------------------------------------------------


@pytest.fixture
def queue() -> Iterator[InMemoryQueue]:
    with InMemoryQueue(lambda call: call.prompt.upper()) as queue:
        yield queue


def test_each_article_has_its_headline(queue: InMemoryQueue) -> None:
    assert headlines(queue, ["rain", "sun"]) == ["A HEADLINE FOR: RAIN", "A HEADLINE FOR: SUN"]


def test_a_failed_headline_is_none() -> None:
    def broken(call: ModelCall) -> str:
        raise OSError("out of memory")

    with InMemoryQueue(broken, retry_config={"max_retries": 1}) as queue:
        assert headlines(queue, ["rain"]) == ["(none)"]
        (task,) = queue.list_tasks()
    assert (task.attempt, task.error) == (2, "out of memory")


def test_a_story_restarts_after_a_lost_connection() -> None:
    attempts = 0

    def flaky(call: ModelCall) -> Iterator[str]:
        nonlocal attempts
        attempts += 1
        yield "Once upon"
        if attempts == 1:
            raise OSError("connection lost")
        yield " a time"

    with InMemoryQueue(flaky) as queue:
        assert tell(queue, "A story, please") == "Once upon a time"
