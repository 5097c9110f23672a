"""Which model servers are spoken to for what is no task."""

from typing import Any

import pytest

from ollama_queue.actors.core.intake.submission import draft, generate_task
from ollama_queue.actors.core.model.errors import NoCapableServer, NotFound
from ollama_queue.actors.core.model.outcomes import ProbeResult
from ollama_queue.actors.core.model.stats import BackendState
from ollama_queue.actors.core.plan.plan import Plan
from ollama_queue.actors.core.routing.gates import Gate
from ollama_queue.actors.core.routing.model_holders import (
    best_first,
    holders,
    oldest_version,
    ollamas,
)
from tests.support.plans import NOW, plan_of


def state(name: str, **facts: Any) -> BackendState:
    given = {"type": "ollama", "healthy": True, "running": 0, "parallel": 1, **facts}
    return BackendState(name=name, **given)


def names(backends: list[BackendState]) -> list[str]:
    return [each.name for each in backends]


def test_those_that_have_a_model_or_may_have_it() -> None:
    backends = [
        state("has", models=["a", "b:8b"]),
        state("has not", models=["c"]),
        state("cannot say", models=None, type="openai"),
        state("out", models=["a"], healthy=False),
    ]

    assert names(holders(backends, "a:latest")) == ["has", "cannot say", "out"]
    assert names(holders(backends, "b")) == ["cannot say"]
    assert names(ollamas(holders(backends, "a"))) == ["has"]


def test_the_best_is_asked_first() -> None:
    backends = [
        state("drained", drained=True, loaded=["a"], priority=9),
        state("remote", remote=True, loaded=["a"]),
        state("plain"),
        state("first", priority=5),
        state("warm", loaded=["a"]),
    ]

    assert names(best_first(backends, "a:latest")) == [
        "warm",
        "first",
        "plain",
        "remote",
        "drained",
    ]


def test_the_oldest_version_is_what_all_can_do() -> None:
    old, new = state("old", version="0.9.10-rc1"), state("new", version="0.12.3")

    assert oldest_version([new, old, state("mute")]) == "0.9.10-rc1"
    assert oldest_version([new, state("out", version="0.1.0", healthy=False)]) == "0.12.3"
    assert oldest_version([state("other", type="openai", version="0.1.0")]) is None
    assert oldest_version([state("odd", version="dev"), new]) == "dev"


class TestListed:
    """A task that must have a backend with its model at once."""

    def submit(self, plan: Plan, model: str = "m", **fields: Any) -> None:
        asked = draft(generate_task(model, "hi", **fields), listed=True)
        plan.submit("x", asked, NOW)

    def test_is_refused_once_all_have_said_what_they_have(self) -> None:
        plan = plan_of([Gate("a", "ollama", 1, models=frozenset({"other"}))])

        with pytest.raises(NotFound, match='model "m" not found, try pulling it first'):
            self.submit(plan)

        assert list(plan.entries) == []
        self.submit(plan, "other:latest")
        assert list(plan.entries) == ["x"]

    def test_waits_while_one_has_not_said_yet(self) -> None:
        unseen = Gate("b", "ollama", 1, is_known=False, is_unseen=True)
        plan = plan_of([Gate("a", "ollama", 1, models=frozenset()), unseen])

        self.submit(plan)

        assert list(plan.entries) == ["x"]
        plan.probed("b", ProbeResult(models=frozenset()), NOW)
        assert list(plan.entries) == ["x"]  # it has been taken on, and waits as any other

    def test_waits_for_one_that_is_out(self) -> None:
        out = Gate("a", "ollama", 1, models=frozenset({"m"}), healthy=False)
        plan = plan_of([out])

        self.submit(plan)

        assert list(plan.entries) == ["x"]

    def test_must_be_where_it_may_run(self) -> None:
        """Only an Ollama can be asked for it, and it is another server that has the model."""
        gates = [
            Gate("a", "ollama", 1, models=frozenset()),
            Gate("b", "openai", 1, models=frozenset({"m"})),
        ]

        with pytest.raises(NoCapableServer, match="template cannot be sent") as refused:
            self.submit(plan_of(gates), template="{{ .Prompt }}")
        assert refused.value.field == "template"
        with pytest.raises(NotFound):
            self.submit(plan_of(gates), template="{{ .Prompt }}", model="else")
        self.submit(plan_of(gates), options={"num_ctx": 64})
