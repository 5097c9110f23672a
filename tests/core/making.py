"""Plans and submissions, as the tests of the core make them."""

from datetime import datetime
from typing import Any

from ollama_queue.actors.core.config import Retry
from ollama_queue.actors.core.messages import Submit
from ollama_queue.actors.core.outcomes import Failed, Verdict
from ollama_queue.actors.core.plan import Plan
from ollama_queue.actors.core.routing import Gate
from ollama_queue.actors.core.settling import utc
from ollama_queue.actors.core.submission import draft, generate_task

NOW = 1_700_000_000.0
DAY = 24 * 3600.0
REFUSED = Failed("connection refused", Verdict.REFUSED)
CUT = Failed("connection cut", Verdict.RETRY)
HTTP_500 = Failed("500: the model is broken", Verdict.SAME_IS_FINAL)
HTTP_400 = Failed("400: no such option", Verdict.FINAL)


def at(seconds: float) -> datetime:
    """So many seconds after `NOW`."""
    return utc(NOW + seconds)


def asked(prompt: str = "hi", *, model: str = "m", key: str | None = None, **fields: Any) -> Submit:
    """What a door hands to the scheduler."""
    return draft(generate_task(model, prompt, **fields), key)


def make_plan(
    slots: int = 1, parallel: int | None = None, retry: Retry | None = None, **limits: int
) -> Plan:
    """A plan whose only backend `b` takes as many calls as there are slots, if not told else."""
    gate = Gate("b", "ollama", slots if parallel is None else parallel)
    return Plan(slots=slots, gate=gate, retry=retry or Retry(), **limits)
