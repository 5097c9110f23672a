"""Which errors with a 500, or inside a stream, are for good."""

from datetime import UTC, datetime

import pytest

from ollama_queue.actors.core.model.outcomes import Failed, Verdict
from ollama_queue.actors.core.model.tasks import Upstream
from ollama_queue.actors.executors.failures import failure_of_status, verdict_of_error
from ollama_queue.actors.executors.ollama import OllamaExecutor
from tests.support.fakes.model_server import Answer, FakeOllama, Stream
from tests.support.harness.executor import run

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FOR_GOOD = [
    'invalid format: "\\"xml\\""; expected "json" or a valid JSON Schema object',
    "invalid JSON schema in format",
    'option "num_ctx" must be of type integer',
    "template: :1: unclosed action",
    'template: :42:11: executing "" at <.Thinking>: can\'t evaluate field Thinking',
    "registry.ollama.ai/library/smollm2:135m does not support tools",
    '"bge" does not support generate',
    "this model does not support embeddings",
    "embedding models do not support chat",
    "Failed to create new sequence: the input length exceeds the context length",
    "input length exceeds maximum context length",
    "the request exceeds the available context size, try increasing it",
    "This model's maximum context length is 8192 tokens, however you requested 25701 tokens",
    "input is too large to process. increase the physical batch size",
    "input (992 tokens) is too large to process. increase the physical batch size",
    "Unsupported param: tools",
    "tools param requires --jinja flag",
    "\n------------\nWhile executing CallExpression at line 47\nError: Jinja Exception: After the",
    "image input is not supported - hint: you may need to provide the mmproj",
]
IT_MAY_PASS = [
    "out of memory",
    "model requires more system memory (5.1 GiB) than is available (2.3 GiB)",
    "llama runner process has terminated: exit status 2",
    "an error was encountered while running the model: CUDA error: out of memory",
    "unable to load model: /models/blobs/sha256-7d",
    "error loading model: unknown model architecture: 'mllama'",
    "timed out waiting for llama runner to start",
    "unexpected server status: llm server loading model",
    "could not format the reply, the template is fine",
    "",
]


@pytest.mark.parametrize(
    ("words", "verdict"),
    [*((w, Verdict.FINAL) for w in FOR_GOOD), *((w, Verdict.RETRY) for w in IT_MAY_PASS)],
)
def test_words_of_a_500_and_of_an_error_in_a_stream(words: str, verdict: Verdict) -> None:
    error = Upstream(words)

    assert failure_of_status("x", 500, {}, words.encode(), NOW).verdict is verdict
    assert verdict_of_error(error) is verdict


def test_only_a_500_is_read_so() -> None:
    for status, verdict in ((429, Verdict.RETRY), (502, Verdict.RETRY), (503, Verdict.REFUSED)):
        failed = failure_of_status("x", status, {}, FOR_GOOD[1].encode(), NOW)
        assert failed.verdict is verdict


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (400, Verdict.FINAL),
        (422, Verdict.FINAL),
        (429, Verdict.RETRY),
        (500, Verdict.RETRY),
        (503, Verdict.RETRY),  # it took the call on
        (1, Verdict.RETRY),
        ("400", Verdict.RETRY),
        (None, Verdict.RETRY),
    ],
)
def test_the_code_of_an_error_in_a_stream(code: int | str | None, verdict: Verdict) -> None:
    assert verdict_of_error(Upstream("no", code=code)) is verdict


def test_of_calls(fake: FakeOllama, executor: OllamaExecutor) -> None:
    for behaviour in (
        Answer(500, {"error": "invalid JSON schema in format"}, {"Retry-After": "5"}),
        Stream(then="error", error="invalid JSON schema in format"),
    ):
        fake.script(behaviour)
        outcome = run(executor)
        assert isinstance(outcome, Failed)
        assert (outcome.verdict, outcome.retry_after_s) == (Verdict.FINAL, None)
