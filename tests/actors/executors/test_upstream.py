"""What a client hears of a failed call: the model server's own words, and never its address."""

from collections.abc import Iterator

import pytest

from ollama_queue.actors.core.config.config import Backend
from ollama_queue.actors.core.model.outcomes import Failed
from ollama_queue.actors.core.model.tasks import Spec, TaskType, Upstream
from ollama_queue.actors.executors import Executor, create_executor
from ollama_queue.actors.executors.openai import OpenAIExecutor
from tests.support.fakes.model_server import Answer, FakeOllama
from tests.support.harness.executor import ASK, KEY, call, ndjson, sse


@pytest.fixture
def ollama(fake: FakeOllama) -> Iterator[Executor]:
    made = create_executor(Backend(name="gpu", url=fake.url, api_key=KEY), 5.0)
    yield made
    made.close()


QUOTA = {
    "message": f"no quota  left for {KEY}",
    "type": "insufficient_quota",
    "code": "insufficient_quota",
    "param": None,
}
SAID = Upstream("no quota  left for [key]", "insufficient_quota", "insufficient_quota")


def heard(executor: Executor) -> Upstream | None:
    outcome = call(executor, TaskType.CHAT, Spec(ASK))
    assert isinstance(outcome, Failed), outcome
    return outcome.upstream


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(429, {"error": QUOTA}), SAID),
        (sse({"error": QUOTA}), SAID),
        (Answer(502), Upstream("Bad Gateway")),
        (sse(done=False), Upstream("the model server ended its reply too early, without [DONE]")),
    ],
)
def test_an_openai_compatible_servers(
    fake: FakeOllama, openai: OpenAIExecutor, answer: Answer, said: Upstream
) -> None:
    fake.script(answer)

    assert heard(openai) == said


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(400, {"error": "m does  not support tools"}), "m does  not support tools"),
        (ndjson({"error": "out of memory"}), "out of memory"),
    ],
)
def test_ollamas(fake: FakeOllama, ollama: Executor, answer: Answer, message: str) -> None:
    fake.script(answer)

    assert heard(ollama) == Upstream(message)


def test_one_that_is_not_there(fake: FakeOllama, ollama: Executor) -> None:
    fake.refuse()

    assert heard(ollama) == Upstream("no connection to the model server: connection refused")
