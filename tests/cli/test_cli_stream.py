"""Printing a reply as it comes, and events."""

import json
import threading
from contextlib import nullcontext

import pytest

from tests.support.fakes.model_server import Answer, Stream
from tests.support.harness.cli import CliHarness, run

CHAT = ("submit", "chat", "--model", "m", "--messages", "user:hello", "--stream")


@pytest.fixture
def house(tmp_path):
    with CliHarness(tmp_path) as house:
        yield house


class Interrupted:
    """A queue in which Ctrl-C comes in the middle of what is listened to."""

    def __init__(self, queue, count):
        self.queue, self.count = queue, count

    def __getattr__(self, verb):
        return getattr(self.queue, verb)

    def stream_task(self, task_id):
        chunks = self.queue.stream_task(task_id)
        for _ in range(self.count):
            yield next(chunks)
        raise KeyboardInterrupt

    def subscribe(self, events=None, tasks=None):
        return CutSubscription(self.queue.subscribe(events, tasks), self.count)


class CutSubscription:
    def __init__(self, subscription, count):
        self.subscription, self.count = subscription, count
        self.close = subscription.close

    def __iter__(self):
        for _ in range(self.count):
            yield self.subscription.get(10)
        raise KeyboardInterrupt


def test_a_submit_prints_the_words_as_they_come(house):
    result = house.run(*CHAT)

    assert (result.exit_code, result.stdout) == (0, "Hello from here\n")
    assert result.stderr.startswith("Task ")


def test_a_prompt_may_be_streamed_too(house):
    words = ("submit", "generate", "--model", "m", "--prompt", "hi", "--stream", "--quiet")
    result = house.run(*words)
    assert (result.stdout, result.stderr) == ("Hello from here\n", "")


def test_stream_prints_what_there_is_from_the_first_word(house):
    assert house.ok("stream", house.ended()) == "Hello from here\n"


def test_with_json_each_piece_is_a_line(house):
    pieces = [json.loads(line) for line in house.ok(*CHAT, "--output", "json").splitlines()]

    assert [piece["id"] for piece in pieces] == ["1.0", "1.1", "1.2", "1.3", "1.4"]
    assert "".join(p["data"]["message"]["content"] for p in pieces[:-1]) == "Hello from here"
    assert (pieces[-1]["done"], pieces[-1]["status"]) == (True, "completed")


def test_a_lost_attempt_is_said_and_begins_anew(house):
    gate = threading.Event()
    gate.set()
    house.fake.script(Stream(words=["x", "y"], gate=gate, then="cut"), Stream(words=["a"]))
    result = house.run(*CHAT)

    assert result.exit_code == 0
    assert result.stdout.endswith("a\n")
    assert "from the beginning" in result.stderr or result.stdout == "a\n"


def test_a_task_that_fails_is_exit_1(house):
    house.fake.script(Answer(400, {"error": "no such thing"}))
    result = house.run(*CHAT)

    assert (result.exit_code, result.stdout) == (1, "")
    assert "failed: " in result.stderr and "no such thing" in result.stderr


def test_a_cancelled_task_is_exit_1(house):
    house.queue.pause()
    task_id = house.submitted()
    house.queue.cancel_task(task_id)
    result = house.run("stream", task_id)

    assert (result.exit_code, result.stderr) == (1, f"Error: task {task_id} was cancelled\n")


def test_an_unknown_task_is_exit_3(house):
    result = house.run("stream", "01a20000-0000-7000-8000-000000000000")
    assert (result.exit_code, result.stdout) == (3, "")


def test_ctrl_c_ends_the_printing_alone(house):
    task_id = house.ended()
    result = run(lambda _: nullcontext(Interrupted(house.queue, 1)), "stream", task_id)

    assert (result.exit_code, result.stdout) == (130, "Hello\n")
    assert f"Interrupted; task {task_id} continues." in result.stderr


# --- events ---------------------------------------------------------------------------------------


def during(house, *args, count, act):
    """What `events` prints of `count` events that come of `act`, until Ctrl-C."""
    queue = Interrupted(house.queue, count)
    subscribe = queue.subscribe
    queue.subscribe = lambda *wanted: (subscribe(*wanted), act())[0]
    result = run(lambda _: nullcontext(queue), "events", *args)
    assert result.exit_code == 130
    return result


def test_events_are_lines(house):
    result = during(house, count=3, act=house.ended)
    lines = [line.split("  ") for line in result.stdout.splitlines()]

    assert [line[1] for line in lines] == ["task_submitted", "task_started", "task_completed"]
    assert all(line[3] == "chat m" for line in lines)
    assert result.stderr == "Listening; Ctrl-C ends it.\n"


def test_only_the_events_named(house):
    names = ("--events", "task_completed", "--events", "queue_paused")
    result = during(house, *names, count=2, act=lambda: (house.ended(), house.queue.pause()))

    assert [line.split("  ")[1] for line in result.stdout.splitlines()] == [
        "task_completed",
        "queue_paused",
    ]


def test_only_those_of_the_tasks_named(house):
    house.queue.pause()
    first, second = house.submitted(), house.submitted()
    act = lambda: (house.queue.cancel_task(first), house.queue.cancel_task(second))  # noqa: E731
    result = during(house, "--task", second, count=1, act=act)

    assert [line.split("  ")[2] for line in result.stdout.splitlines()] == [second]


def test_with_json_each_event_is_a_line(house):
    result = during(house, "--output", "json", "--quiet", count=3, act=house.ended)
    events = [json.loads(line) for line in result.stdout.splitlines()]

    assert [event["task"]["status"] for event in events] == ["pending", "running", "completed"]
    assert result.stderr == ""


def test_an_unknown_event_is_exit_2(house):
    assert house.run("events", "--events", "task_eaten").exit_code == 2
