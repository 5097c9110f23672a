"""Mistakes that type checkers find: one on each line that says so. It is never run."""

from ollama_queue import AsyncClient, Client, Event, QueueManager, chat_task, generate_task
from ollama_queue.testing import InMemoryQueue

QueueManager(max_wrokers=3)  # wrong
QueueManager(max_workers="many")  # wrong
QueueManager(durability="often")  # wrong
QueueManager(retry_config={"retries": 3})  # wrong
generate_task("m", "hi", no_such=3)  # wrong
generate_task("m", "hi", priority=None)  # wrong
generate_task("m", "hi", tools=[])  # wrong
chat_task("m", "hi")  # wrong
Client("h", retries=3)  # wrong
InMemoryQueue("Hello")  # wrong
InMemoryQueue(lambda call: 5)  # wrong
InMemoryQueue(lambda call: call.text)  # wrong
InMemoryQueue(lambda call: "Hello", storage_path="./data")  # wrong


def use(queue: Client, event: Event) -> None:
    print(event.task.id)  # wrong
    queue.wait(5)  # wrong
    queue.add_cron_task({}, if_exists="ignore")  # wrong
    queue.submit(generate_task("m", "hi"), key="k")  # wrong


async def use_it(queue: AsyncClient) -> None:
    for _ in queue.stream_task("a"):  # wrong
        pass
