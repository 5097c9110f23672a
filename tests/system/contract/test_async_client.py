"""`AsyncClient` over a real server: what is its own, and over `kill -9`."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

import ollama_queue
from ollama_queue import (
    AsyncClient,
    Conflict,
    NotFound,
    Status,
    TaskResult,
    Unavailable,
    generate_task,
)
from ollama_queue.actors.api.queue_api import QueueAPI
from ollama_queue.actors.api.task_stream import AsyncTaskStream
from ollama_queue.actors.base.mailbox import Closed
from tests.support.fakes.model_server import Behaviour, FakeOllama, Hang, Stream
from tests.support.servers.queue_server import QueueServer

PATIENCE_S = 10.0
NEW = generate_task("m", "hi")
SILENT = generate_task("m", "say nothing")  # it may be cancelled before it reaches the model server


def behave(body: dict[str, Any]) -> Behaviour:
    return Hang() if body["prompt"] == SILENT.payload["prompt"] else Stream()


@pytest.fixture(scope="module")
def model() -> Iterator[FakeOllama]:
    with FakeOllama(behave) as fake:
        yield fake


@pytest.fixture(scope="module")
def server(model: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    with QueueServer(tmp_path_factory.mktemp("async"), model.url) as running:
        yield running


Scene = Callable[[AsyncClient], Coroutine[Any, Any, None]]


def play(server: QueueServer, scene: Scene) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), AsyncClient(server.base_url) as queue:
            await scene(queue)

    asyncio.run(run())


# --- the form -----------------------------------------------------------------------------------


VERBS = {
    name: verb
    for kind in reversed(QueueAPI.__mro__)
    for name, verb in vars(kind).items()
    if name[0] != "_" and inspect.isfunction(verb)
}


def form(verb: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    parameters = inspect.signature(verb).parameters.values()
    return [(each.name, each.kind, each.default) for each in parameters]


@pytest.mark.parametrize("name", VERBS)
def test_it_has_each_verb_with_the_same_parameters(name: str) -> None:
    verb = getattr(AsyncClient, name)

    assert form(verb) == form(VERBS[name])
    gives = inspect.signature(verb).return_annotation
    if name == "submit_streaming_task":
        assert gives is AsyncTaskStream
    elif name in ("stream_task", "as_completed"):
        assert gives.__origin__ is AsyncGenerator
    else:
        assert inspect.iscoroutinefunction(verb)


def test_it_is_public() -> None:
    assert ollama_queue.AsyncClient is AsyncClient
    assert "AsyncClient" in ollama_queue.__all__


# --- many at once -------------------------------------------------------------------------------


def test_many_tasks_are_awaited_at_once(server: QueueServer) -> None:
    async def scene(queue: AsyncClient) -> None:
        ids = await asyncio.gather(*[queue.submit_task(NEW) for _ in range(150)])
        ended = await asyncio.gather(*[queue.wait(each, timeout=30) for each in ids])

        assert [task.id for task in ended] == ids
        assert {task.status for task in ended} == {Status.COMPLETED}

    play(server, scene)


def test_results_come_one_by_one_in_one_task(server: QueueServer) -> None:
    async def scene(queue: AsyncClient) -> None:
        channel: asyncio.Queue[TaskResult] = asyncio.Queue()
        seen: list[tuple[str, asyncio.Task[Any] | None]] = []
        is_busy = False

        async def callback(result: TaskResult) -> None:
            nonlocal is_busy
            assert not is_busy
            is_busy = True
            task = await queue.get_task(result.task_id)
            is_busy = False
            seen.append((task.id, asyncio.current_task()))

        ids = [await queue.submit_task_with_callback(NEW, callback) for _ in range(8)]
        last = await queue.submit_task_with_channel(NEW, channel)
        batch: asyncio.Queue[list[TaskResult]] = asyncio.Queue()
        together = await queue.submit_batch_tasks_async([NEW] * 5, batch.put_nowait)

        assert (await channel.get()).task_id == last
        assert [result.task_id for result in await batch.get()] == together
        while len(seen) < len(ids):
            await queue.submit_batch_tasks([NEW])
        assert {each for each, _ in seen} == set(ids)
        assert len({task for _, task in seen}) == 1

    play(server, scene)


# --- event loops --------------------------------------------------------------------------------


def test_one_client_serves_one_event_loop_after_another(server: QueueServer) -> None:
    """Each run leaves open what it has begun."""
    queue = AsyncClient(server.base_url)

    async def scene() -> list[Any]:
        events = await queue.subscribe(["task_completed"])
        channel: asyncio.Queue[TaskResult] = asyncio.Queue()
        ids = await asyncio.gather(
            *[queue.submit_task_with_channel(NEW, channel) for _ in range(4)]
        )
        assert (await events.get(PATIENCE_S)).event == "task_completed"
        assert (await channel.get()).task_id in ids
        chunks = queue.stream_task(ids[0])
        await anext(chunks)
        return [events, chunks]

    left = [asyncio.run(scene()) for _ in range(2)]
    loop = asyncio.new_event_loop()  # one that is neither running nor closed
    left.append(loop.run_until_complete(scene()))

    async def again() -> None:
        with pytest.raises(StopAsyncIteration):
            await anext(left[0][1])
        completed = asyncio.create_task(left[0][0].get(PATIENCE_S))
        while not completed.done():  # it hears nothing of those that end before it is subscribed
            await queue.submit_task(NEW)
        assert completed.result().event == "task_completed"
        await queue.close()
        with pytest.raises(Unavailable, match="this client is closed"):
            await queue.get_queue_stats()

    asyncio.run(again())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def test_two_event_loops_at_the_same_time_are_refused(server: QueueServer) -> None:
    async def scene(queue: AsyncClient) -> None:
        other = asyncio.to_thread(asyncio.run, queue.get_queue_stats())
        with pytest.raises(Conflict, match="used in another event loop: make one for each"):
            await other
        assert await queue.get_queue_stats()

    play(server, scene)


def test_without_asyncio_one_sentence_says_so() -> None:
    """As under trio: its coroutines are driven by something else."""
    queue = AsyncClient("localhost:1")
    verbs: list[Coroutine[Any, Any, Any]] = [
        queue.__aenter__(),
        queue.get_queue_stats(),
        queue.wait("a", timeout=1),
        queue.subscribe(),
        queue.submit_task_with_callback(NEW, print),
        queue.submit_batch_tasks_async([NEW], print),
        anext(queue.stream_task("a")),  # type: ignore[list-item]
    ]
    for verb in verbs:
        with pytest.raises(Conflict, match="AsyncClient needs asyncio"):
            verb.send(None)


def test_progress_may_be_awaited_and_ends_come_one_by_one(server: QueueServer) -> None:
    async def scene(queue: AsyncClient) -> None:
        told: list[int] = []

        async def on_progress(done: int, total: int) -> None:
            await queue.get_queue_stats()
            told.append(done)

        await queue.submit_batch_tasks([NEW] * 8, on_progress=on_progress, timeout=PATIENCE_S)
        made = await queue.submit_batch([NEW] * 8)
        ends = [result.task_id async for result in queue.as_completed(made.task_ids)]

        assert told == sorted(set(told)) and told[-1] == 8
        assert sorted(ends) == made.task_ids

    play(server, scene)


def test_a_stream_whose_reader_is_cancelled_cancels_its_task(
    server: QueueServer, model: FakeOllama
) -> None:
    async def scene(queue: AsyncClient) -> None:
        async def read(stream: Any) -> None:
            async with aclosing(stream):
                async for _ in stream:
                    pass

        for cancels, left in ((True, Status.CANCELLED), (False, Status.RUNNING)):
            calls = len(model.calls)
            stream = queue.submit_streaming_task(SILENT, cancel_on_close=cancels)
            assert stream.task_id is None
            reading = asyncio.create_task(read(stream))
            await asyncio.to_thread(model.wait_for_calls, calls + 1)
            reading.cancel()
            await asyncio.wait([reading])
            assert reading.cancelled()
            (task,) = await queue.list_tasks({"limit": 1})
            assert task.status is left and stream.task_id in (task.id, None)
        await queue.cancel_task(task)

        left_early = queue.submit_streaming_task(SILENT, cancel_on_close=True)
        early = asyncio.create_task(read(left_early))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # its submit is on the way
        early.cancel()
        await asyncio.wait([early])
        (last,) = await queue.list_tasks({"limit": 1})
        assert early.cancelled()
        assert (last.id != task.id, last.status) == (True, Status.CANCELLED)

    play(server, scene)


def test_a_stream_that_is_dropped_cancels_its_task(server: QueueServer, model: FakeOllama) -> None:
    async def scene(queue: AsyncClient) -> None:
        model.script(Stream(words=["x"], then="hang"))
        heard = await queue.subscribe(["task_cancelled"])

        async for _ in queue.submit_streaming_task(NEW, cancel_on_close=True):
            break

        assert (await heard.get(PATIENCE_S)).event == "task_cancelled"

    play(server, scene)


# --- giving up, and closing ---------------------------------------------------------------------


def test_giving_up_loses_nothing(server: QueueServer) -> None:
    async def scene(queue: AsyncClient) -> None:
        async with await queue.subscribe(["task_completed"]) as heard:
            with pytest.raises(TimeoutError):
                await heard.get(0.01)
            getting = asyncio.create_task(heard.get())
            await asyncio.sleep(0)
            getting.cancel()
            task_id = await queue.submit_task(NEW)
            event = await heard.get(PATIENCE_S)
            assert event.task is not None and event.task.id == task_id
        with pytest.raises(Closed):
            await heard.get(PATIENCE_S)

    play(server, scene)


def test_a_stream_may_be_left(server: QueueServer, model: FakeOllama) -> None:
    async def scene(queue: AsyncClient) -> None:
        stream: Any = queue.submit_streaming_task(NEW)
        async with aclosing(stream):
            async for chunk in stream:
                assert chunk.data["response"] == "Hello"
                break
        with pytest.raises(NotFound):
            await anext(queue.stream_task("nothing"))

    play(server, scene)


def test_closing_ends_all_that_waits(server: QueueServer, model: FakeOllama) -> None:
    async def scene(queue: AsyncClient) -> None:
        model.script(Hang())
        calls = len(model.calls)
        task_id = await queue.submit_task(NEW)
        heard = await queue.subscribe()
        await asyncio.to_thread(model.wait_for_calls, calls + 1)

        async def stream() -> None:
            async for _ in queue.stream_task(task_id):
                pass

        async def listen() -> None:
            async for _ in heard:
                pass

        waits = [asyncio.create_task(each) for each in (queue.wait(task_id), stream(), listen())]
        await queue.get_task(task_id)  # the others have been sent by now
        await queue.aclose()
        ends = await asyncio.gather(*waits, return_exceptions=True)

        assert [isinstance(end, Unavailable) for end in ends] == [True, True, False]
        assert ends[2] is None
        with pytest.raises(Unavailable, match="this client is closed"):
            await queue.submit_task(NEW)
        async with AsyncClient(server.base_url) as another:
            await another.cancel_task(task_id)

    play(server, scene)


def test_a_callback_may_close(server: QueueServer) -> None:
    async def scene(queue: AsyncClient) -> None:
        closed = asyncio.Event()

        async def callback(_: TaskResult) -> None:
            await queue.close()
            closed.set()

        await queue.submit_task_with_callback(NEW, callback)
        await closed.wait()

    play(server, scene)


# --- over kill -9 -------------------------------------------------------------------------------


def test_all_goes_on_after_kill_nine(model: FakeOllama, tmp_path: Path) -> None:
    async def scene(server: QueueServer) -> None:
        async with asyncio.timeout(60), AsyncClient(server.base_url) as queue:
            model.script(Stream(words=["x"], then="hang"))
            stream = queue.submit_streaming_task(NEW, timeout=30)
            first = await anext(stream)
            await queue.pause()
            results: asyncio.Queue[list[TaskResult]] = asyncio.Queue()
            ids = await queue.submit_batch_tasks_async([NEW] * 3, results.put)
            waits = asyncio.create_task(queue.wait(ids[0], timeout=30))
            batch = await queue.submit_batch([NEW] * 3)
            gathered = asyncio.create_task(queue.wait_batch(batch, timeout=30))
            ends = asyncio.create_task(all_ends(queue, batch.task_ids))
            heard = await queue.subscribe(["task_completed"])
            event = asyncio.create_task(heard.get(30))

            await asyncio.to_thread(server.kill)
            submitting = asyncio.create_task(ready(queue))
            await asyncio.to_thread(server.start)
            await submitting
            await queue.resume()
            rest = [chunk async for chunk in stream]

            assert first.data["response"] == "x"
            assert rest[0].restart
            words = [chunk.data["response"] for chunk in rest if chunk.data]
            assert words == ["Hello", " from", " here", ""]
            assert [result.task_id for result in await results.get()] == ids
            assert (await waits).status is Status.COMPLETED
            assert [result.task_id for result in await gathered] == batch.task_ids
            assert sorted(await ends) == batch.task_ids
            while not event.done():  # what happens before it is connected again is not told
                await queue.wait(await queue.submit_task(NEW), timeout=30)
            assert (await event).event == "task_completed"

    with QueueServer(tmp_path, model.url) as server:
        asyncio.run(scene(server))


async def all_ends(queue: AsyncClient, ids: list[str]) -> list[str]:
    return [result.task_id async for result in queue.as_completed(ids, timeout=30)]


async def ready(queue: AsyncClient) -> None:
    """Until the server is back; the verbs themselves say that it is away."""
    while True:
        try:
            await queue.get_queue_stats()
            return
        except Unavailable:
            await asyncio.sleep(0.05)
