"""Webhooks over `kill -9`: each task that has ended is told of, and in order."""

import random
import threading
from pathlib import Path

from ollama_queue import generate_task
from tests.support.fakes.model_server import FakeOllama
from tests.support.fakes.webhook_receiver import WebhookReceiver, answer
from tests.support.servers.queue_server import QueueServer

KILLS = 4
TASKS = 25  # between two kills


def allow_here(server: QueueServer) -> None:
    server.config.write_text(
        server.config.read_text() + "callbacks: {allowed_networks: [127.0.0.1]}\n"
    )


def test_what_was_not_accepted_is_sent_after_a_kill(tmp_path: Path) -> None:
    """The receiver has the request and has not answered when the queue is killed."""
    hold = threading.Event()
    with FakeOllama() as model, WebhookReceiver() as receiver:
        server = QueueServer(tmp_path, model.url)
        allow_here(server)
        receiver.play = lambda _: hold.wait(60) and None
        with server:
            with server.client() as client:
                task_id = client.submit_task(generate_task("m", "hi", callback_url=receiver.url))
            (first,) = receiver.wait_for(1)
            server.kill()
            receiver.play = answer(204)
            hold.set()
            server.start()
            _, again = receiver.wait_for(2)
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert first.body == again.body
    assert again.task["id"] == task_id


def test_none_is_lost_over_kills(tmp_path: Path) -> None:
    chance = random.Random()
    ended: set[str] = set()
    with FakeOllama() as model, WebhookReceiver() as receiver:
        server = QueueServer(tmp_path, model.url)
        allow_here(server)
        with server:
            for _ in range(KILLS):
                with server.client() as client:
                    ended |= {
                        client.submit_task(generate_task("m", "hi", callback_url=receiver.url))
                        for _ in range(TASKS)
                    }
                threading.Event().wait(chance.uniform(0, 0.3))  # at any moment
                server.kill()
                server.start()
            with server.client() as client:
                for task_id in ended:
                    client.wait(task_id, timeout=60)
            told: set[str] = set()
            count = len(ended)
            while not told >= ended:
                received = receiver.wait_for(count)
                told = {request.task["id"] for request in received}
                count = len(received) + 1
            ids = {request.headers["webhook-id"] for request in receiver.requests}
    assert told == ended
    assert len(ids) == len(ended), "the same event has the same id"
