"""Every way a call can go wrong or be ended, on the executor for Ollama."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ollama_queue.actors.core.config.config import Backend
from ollama_queue.actors.core.model.outcomes import (
    Answered,
    Failed,
    Outcome,
    ProbeResult,
    Stopped,
    Verdict,
)
from ollama_queue.actors.core.model.tasks import Spec, TaskType
from ollama_queue.actors.executors.ollama import OllamaExecutor
from tests.support.fakes.model_server import Answer, Behaviour, Cut, FakeOllama, Hang, Stream
from tests.support.harness.executor import ASK, KEY, ndjson, run

TOO_LONG = b'{"response":"' + b"x" * (16 << 20) + b'"}\n'


class TestFailure:
    @pytest.mark.parametrize(
        ("behaviour", "words", "verdict"),
        [
            (Answer(404, {"error": "no such model"}), "answered 404: no such model", "final"),
            (Answer(500, {"error": "bad option"}), "answered 500: bad option", "retry"),
            (Answer(301, b"", {"Location": "/x"}), "answered 301: Moved Permanently", "final"),
            (Stream(then="error"), "reported an error: the model runner has died", "retry"),
            (Stream(then="stop"), "ended its reply too early, without done: true", "cut"),
            (ndjson(5), "sent invalid JSON: Expected `object`, got `int`", "retry"),
            (Answer(body=b"{oops\n"), "sent invalid JSON: ", "retry"),
            (Answer(body=b"[" * 10_000), "sent invalid JSON: ", "retry"),
            (Answer(body=b""), "ended its reply too early, without done: true", "cut"),
        ],
    )
    def test_of_an_answer(
        self,
        fake: FakeOllama,
        executor: OllamaExecutor,
        behaviour: Behaviour,
        words: str,
        verdict: str,
    ) -> None:
        fake.script(behaviour)

        outcome = run(executor)

        assert isinstance(outcome, Failed)
        assert outcome.error.startswith(f"ollama at {fake.url} {words}")
        assert outcome.verdict == verdict
        assert isinstance(run(executor), Answered)

    @pytest.mark.parametrize("behaviour", [Cut(), Stream(then="cut")])
    def test_of_the_connection(
        self, fake: FakeOllama, executor: OllamaExecutor, behaviour: Behaviour
    ) -> None:
        fake.script(behaviour)

        outcome = run(executor)

        assert isinstance(outcome, Failed)
        assert outcome.error.startswith(f"the connection to ollama at {fake.url} broke: ")
        assert outcome.verdict is Verdict.CUT

    def test_of_a_busy_server(self, fake: FakeOllama, executor: OllamaExecutor) -> None:
        fake.script(Answer(503, {"error": "busy"}, {"Retry-After": "2"}), Answer(429, b"slow"))

        assert run(executor) == Failed(
            f"ollama at {fake.url} answered 503: busy", Verdict.REFUSED, 2.0, 503
        )
        slow = f"ollama at {fake.url} answered 429: slow"
        assert run(executor) == Failed(slow, Verdict.RETRY, status=429)

    def test_of_no_server(self, fake: FakeOllama, executor: OllamaExecutor) -> None:
        fake.refuse()
        words = f"no connection to {fake.url}: connection refused"

        assert run(executor) == Failed(words, Verdict.REFUSED)
        assert executor.probe() == ProbeResult(error=words)

    @pytest.mark.parametrize("silent", [Hang(), Stream(then="hang")])
    def test_of_a_silent_server(self, fake: FakeOllama, silent: Behaviour) -> None:
        fake.script(silent)
        executor = OllamaExecutor(Backend(name="ollama", url=fake.url), 0.1)

        assert run(executor) == Failed(f"no byte from ollama at {fake.url} for 0.1 s", Verdict.CUT)
        fake.wait_for_disconnect()
        assert len(fake.calls) == 1

    def test_of_a_reply_without_end(self, fake: FakeOllama, executor: OllamaExecutor) -> None:
        fake.script(Answer(body=TOO_LONG))

        assert run(executor, TaskType.GENERATE, {"prompt": "p"}) == Failed(
            "a line of the reply is longer than 16 MiB", Verdict.FINAL
        )

    def test_of_an_embed(self, fake: FakeOllama, executor: OllamaExecutor) -> None:
        fake.script(Answer(body={"error": "broken"}), Answer(body=b"oops"))

        outcomes = [run(executor, TaskType.EMBED, {"input": "a"}) for _ in range(2)]

        verdicts = [outcome.verdict for outcome in outcomes if isinstance(outcome, Failed)]
        assert verdicts == [Verdict.RETRY, Verdict.RETRY]

    def test_never_shows_the_key(self, fake: FakeOllama, executor: OllamaExecutor) -> None:
        fake.script(
            Answer(401, {"error": f"wrong key: {KEY}"}), Stream(then="error", error=f"Bearer {KEY}")
        )

        assert run(executor) == Failed(
            f"ollama at {fake.url} answered 401: wrong key: [key]", Verdict.FINAL, status=401
        )
        assert KEY not in str(run(executor))


class TestAbort:
    @pytest.mark.parametrize("behaviour", [Hang(), Stream(then="hang")])
    @pytest.mark.parametrize(
        ("failure", "outcome"),
        [
            (None, Stopped()),
            ("the attempt took over 5 s", Failed("the attempt took over 5 s", Verdict.RETRY)),
        ],
    )
    def test_ends_the_call_and_frees_the_server(
        self,
        fake: FakeOllama,
        executor: OllamaExecutor,
        behaviour: Behaviour,
        failure: str | None,
        outcome: Outcome,
    ) -> None:
        fake.script(behaviour)
        with ThreadPoolExecutor() as pool:
            running = pool.submit(run, executor)
            fake.wait_for_calls(1)
            executor.abort(failure)
            executor.abort("too late")

            assert running.result(5) == outcome
        fake.wait_for_disconnect()
        assert isinstance(run(executor), Answered)

    def test_before_the_call_keeps_it_from_being_made(
        self, fake: FakeOllama, executor: OllamaExecutor
    ) -> None:
        executor.begin()
        executor.abort()

        assert executor.run(TaskType.CHAT, "m", Spec(ASK), print) == Stopped()
        assert fake.calls == []

    def test_in_the_last_chunk_still_counts(
        self, fake: FakeOllama, executor: OllamaExecutor
    ) -> None:
        executor.begin()

        def on_chunk(chunk: bytes) -> None:
            if json.loads(chunk)["done"]:
                executor.abort()

        assert executor.run(TaskType.CHAT, "m", Spec(ASK), on_chunk) == Stopped()


class TestLook:
    def test_does_not_disturb_a_running_call(
        self, fake: FakeOllama, executor: OllamaExecutor
    ) -> None:
        gate = threading.Event()
        fake.script(Stream(gate=gate))
        with ThreadPoolExecutor() as pool:
            running = pool.submit(run, executor)
            fake.wait_for_calls(1)
            assert executor.probe().error is None
            gate.set()

            assert isinstance(running.result(5), Answered)

    def test_says_what_is_wrong(self, fake: FakeOllama) -> None:
        executor = OllamaExecutor(Backend(name="ollama", url=f"{fake.url}/else/"), 5.0)

        error = f"ollama at {fake.url}/else answered 404: 404 page not found"
        assert executor.probe() == ProbeResult(error=error)
