"""Run work in the background of a program, with an embedded queue in ./processor_data."""

import os
from collections.abc import Callable
from concurrent.futures import Future, wait

from ollama_queue import NewTask, QueueManager, TaskResult, chat_task

OLLAMA = os.environ.get("OLLAMA_HOST", "http://localhost:11434")


class TaskProcessor:
    """Answers questions, one at a time or many at once. `close` waits for their answers."""

    def __init__(self) -> None:
        self._queue = QueueManager(
            ollama_host=OLLAMA, max_workers=6, storage_path="./processor_data"
        ).start()
        self._answers: list[Future[None]] = []

    def process_chat_async(
        self, message: str, model: str, callback: Callable[[str | None, str | None], None]
    ) -> None:
        """Call `callback` with the answer and None, or with None and the error."""
        answered: Future[None] = Future()

        def report(result: TaskResult) -> None:
            try:
                callback(answer_of(result), result.error)
            finally:
                answered.set_result(None)

        self._queue.submit_task_with_callback(question(message, model), report)
        self._answers.append(answered)

    def process_batch(self, messages: list[str], model: str) -> list[str]:
        """Wait for all answers; returns them in the order of the messages."""
        results = self._queue.submit_batch_tasks([question(text, model) for text in messages])
        return [answer_of(result) or f"Error: {result.error}" for result in results]

    def close(self) -> None:
        wait(self._answers)
        self._queue.close()


def question(message: str, model: str) -> NewTask:
    return chat_task(model, [{"role": "user", "content": message}])


def answer_of(result: TaskResult) -> str | None:
    return result.result["message"]["content"] if result.success else None


def show(answer: str | None, error: str | None) -> None:
    print(f"Async chat failed: {error}" if error else f"Async chat response: {answer}")


processor = TaskProcessor()
try:
    processor.process_chat_async("Hello, how are you?", "qwen3", show)
    answers = processor.process_batch(["First message", "Second message"], "qwen3")
finally:
    processor.close()
print("Batch responses:", answers)
