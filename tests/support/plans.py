"""Plans and submissions for tests of the core."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ollama_queue.actors.core.config.config import (
    RemoteScheduling,
    RetrySettings,
    SchedulerSettings,
)
from ollama_queue.actors.core.intake.submission import draft, generate_task
from ollama_queue.actors.core.messages import Submit
from ollama_queue.actors.core.model.orders import Change, Order, Run
from ollama_queue.actors.core.model.outcomes import Failed, Verdict
from ollama_queue.actors.core.model.tasks import Attempt, Status
from ollama_queue.actors.core.plan.plan import Plan
from ollama_queue.actors.core.plan.settle import utc
from ollama_queue.actors.core.routing.gates import Gate
from ollama_queue.actors.core.routing.placement import Gates

NOW = 1_700_000_000.0
DAY = 24 * 3600.0
REFUSED = Failed("connection refused", Verdict.REFUSED)
CUT = Failed("connection cut", Verdict.CUT)
HTTP_500 = Failed("500: the model is broken", Verdict.RETRY)
HTTP_400 = Failed("400: no such option", Verdict.FINAL)


def at(seconds: float) -> datetime:
    """`seconds` after `NOW`."""
    return utc(NOW + seconds)


def asked(prompt: str = "hi", *, model: str = "m", key: str | None = None, **fields: Any) -> Submit:
    """A submission, as the scheduler receives it."""
    return draft(generate_task(model, prompt, **fields), key)


def plan_of(gates: Iterable[Gate], slots: int = 1, **settings: Any) -> Plan:
    """A plan with these backends; `rules`, `models`, `scheduler`, `retry`, limits as in `Plan`."""
    rules, models = settings.pop("rules", RemoteScheduling()), settings.pop("models", {})
    defaults = {"retry": RetrySettings(), "scheduler": SchedulerSettings()}
    return Plan(slots=slots, gates=Gates(gates, rules, models), **{**defaults, **settings})


def make_plan(
    slots: int = 1, parallel: int | None = None, retry: RetrySettings | None = None, **limits: int
) -> Plan:
    """A plan with one backend `b`, which by default runs as many calls as there are slots.

    It serves all models and does not report which are loaded.
    """
    gate = Gate("b", "openai", slots if parallel is None else parallel)
    return plan_of([gate], slots, retry=retry or RetrySettings(), **limits)


def started(task_id: str, attempt: int = 1, *, slot: int = 0, now: float = 0) -> list[Order]:
    """The orders that start a task `now` seconds after the first instant."""
    fields = {
        "status": Status.RUNNING,
        "attempt": attempt,
        "started_at": at(now),
        "next_attempt_at": None,
        "executed_on": "b",
        "fallback": None,
    }
    return [Change(task_id, fields, "task_started"), Run(slot, task_id, attempt, "b", None)]


def ended(attempt: int, since: float, until: float, error: str | None = None) -> Attempt:
    return Attempt(
        attempt=attempt, backend="b", started_at=at(since), ended_at=at(until), error=error
    )


def put_back(task_id: str, call: Attempt | None, **fields: object) -> Change:
    """The change that returns a running task to the queue."""
    fields = {
        "error": None,
        "avoid": None,
        "lacking": (),
        "next_attempt_at": None,
        **UNSPENT,
        **fields,
    }
    return Change(task_id, {"status": Status.PENDING, **fields}, "task_retrying", call)


def runs(orders: list[Order]) -> list[str]:
    return [order.task_id for order in orders if isinstance(order, Run)]


def changes(orders: list[Order]) -> list[tuple[str, Status]]:
    return [(o.task_id, o.fields["status"]) for o in orders if isinstance(o, Change)]


def filled(*submits: Submit, slots: int = 1, retry: RetrySettings | None = None) -> Plan:
    """A plan that has accepted tasks `a`, `b`, `c` …"""
    plan = make_plan(slots, retry=retry)
    for task_id, submit in zip("abcdefgh", submits, strict=False):
        plan.submit(task_id, submit, NOW)
    return plan


def nested(depth: int) -> list[Any]:
    """A list nested `depth` times."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


GREETING = asked("hi")
UNSPENT = {"retry_count": 0, "interruptions": 0}
