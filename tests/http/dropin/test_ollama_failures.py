"""What the official client of Ollama hears when something fails, and what headers change."""

import threading
from typing import Any

import pytest

from ollama_queue import Client, Status, generate_task
from tests.support.fakes.model_server import Answer, Behaviour, FakeOllama, Hang, Stream
from tests.support.ollama_clients import HI, Ask, failure, newest, paused

PATIENCE_S = 10.0


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_nobody_has(ask: Ask, stream: bool) -> None:
    words = 'model "gone" not found, try pulling it first'

    assert failure(ask, "chat", "gone", HI, stream=stream) == (404, words)
    assert failure(ask, "generate", "gone") == (404, words)  # to be loaded
    assert failure(ask, "show", "gone") == (404, words)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "told"), [(400, 400), (404, 404), (401, 502), (501, 501)])
def test_the_models_own_refusals(
    ask: Ask, model: FakeOllama, stream: bool, status: int, told: int
) -> None:
    model.script(Answer(status, {"error": "m does not support tools"}))

    words = "m does not support tools"
    if status == 401:  # what it thinks of the queue's own key
        words = "the model server denied the queue access (401)"

    assert failure(ask, "chat", "m", HI, stream=stream) == (told, words)


def test_a_mistake_in_the_request(ask: Ask) -> None:
    assert failure(ask, "chat", "m", [{"role": "user"}], headers={"X-Queue-Priority": "9000"}) == (
        400,
        "X-Queue-Priority: priority must be low, normal, high, critical "
        "or a whole number from 1 to 15",
    )
    assert failure(ask, "embed", "m", [""], headers={"X-Queue-Detach": "perhaps"}) == (
        400,
        "X-Queue-Detach must be true or false",
    )


def test_what_is_not_passed_on(ask: Ask) -> None:
    def words(verb: str) -> str:
        return (
            f"the queue does not forward {verb}: set proxy.admin to true in its configuration, "
            "or run it against the model server itself, with its address in OLLAMA_HOST"
        )

    for verb, args in (("pull", ["m"]), ("push", ["m"]), ("delete", ["m"]), ("copy", ["m", "n"])):
        assert failure(ask, verb, *args) == (403, words(verb))
    assert failure(ask, "create", "m", from_="n") == (403, words("create"))


# --- failures of the model server ---------------------------------------------------------------

FAILURES = [Stream(then="cut"), Answer(500, {"error": "out of memory"}), Stream(then="stop")]


@pytest.mark.parametrize("failed", FAILURES)
def test_a_whole_reply_is_tried_again_unseen(
    ask: Ask, model: FakeOllama, queue: Client, failed: Behaviour
) -> None:
    model.script(failed)

    assert ask("chat", "m", HI).message.content == "Hello from here"
    assert newest(queue).attempt == 2


def test_a_stream_is_tried_again_while_nothing_was_sent(ask: Ask, model: FakeOllama) -> None:
    model.script(Answer(500, {"error": "out of memory"}), Stream(words=[], then="cut"))

    parts = ask("chat", "m", HI, stream=True)

    assert "".join(part.message.content for part in parts) == "Hello from here"


def test_a_stream_cannot_begin_anew(ask: Ask, model: FakeOllama, queue: Client) -> None:
    seen = threading.Event()
    model.script(Stream(then="cut", gate=seen), Stream(then="hang"))

    status, words = failure(ask, "chat", "m", HI, stream=True, seen=seen)

    task = newest(queue)
    assert status == -1  # the client's own: it has had a 200 before
    assert words.startswith("the connection to the model server broke")
    assert words.endswith(f"; the output of task {task.id} so far is incomplete")
    assert queue.wait(task.id, timeout=PATIENCE_S).status is Status.CANCELLED


def test_an_error_in_the_middle(ask: Ask, model: FakeOllama) -> None:
    model.default = Stream(then="error", error="the model runner has died")
    try:
        status, words = failure(ask, "generate", "m", "hi", stream=True)
    finally:
        model.default = Stream()

    assert status == -1
    assert "the model runner has died" in words


# --- the queue ----------------------------------------------------------------------------------


def test_it_goes_before_tasks_of_lower_priority(ask: Ask, queue: Client, model: FakeOllama) -> None:
    before = len(model.calls)
    with paused(queue):
        low = [queue.submit_task(generate_task("m", f"low {n}", priority=1)) for n in range(3)]
        said: list[Any] = []
        asking = threading.Thread(target=lambda: said.append(ask("chat", "m", HI)))
        waiting = queue.subscribe(["task_submitted"])
        asking.start()
        waiting.get(PATIENCE_S)
    asking.join(PATIENCE_S)
    for task_id in low:
        queue.wait(task_id, timeout=PATIENCE_S)

    assert said[0].message.content == "Hello from here"
    assert [call.path for call in model.calls[before:]] == ["/api/chat"] + ["/api/generate"] * 3


def test_headers_say_how_it_is_queued(ask: Ask, queue: Client) -> None:
    ask("generate", "m", "hi", headers={"X-Queue-Priority": "low", "X-Queue-Tenant": "nightly"})

    task = newest(queue)
    assert (task.priority, task.tenant) == (1, "nightly")


def test_a_key_finds_the_task_again(ask: Ask, queue: Client, model: FakeOllama) -> None:
    key = {"Idempotency-Key": f"once {len(model.calls)}"}
    first = ask("chat", "m", HI, headers=key)
    calls = len(model.calls)

    again = ask("chat", "m", HI, headers=key)

    assert (again.message, len(model.calls)) == (first.message, calls)
    assert failure(ask, "chat", "m", [*HI, *HI], headers=key)[0] == 409


def test_a_cancelled_task(ask: Ask, queue: Client, model: FakeOllama) -> None:
    model.script(Hang())
    begun = queue.subscribe(["task_started"])

    def cancel() -> None:
        queue.cancel_task(begun.get(PATIENCE_S).task.id)

    cancelling = threading.Thread(target=cancel)
    cancelling.start()
    status, words = failure(ask, "chat", "m", HI)
    cancelling.join()

    assert (status, words) == (499, f"task {newest(queue).id} was cancelled")
