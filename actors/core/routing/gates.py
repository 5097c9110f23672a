"""One model server as the plan sees it: whether it is well, what it has, and who is inside."""

import math
from collections.abc import Container, Iterable

from msgspec import Struct

from ..model.outcomes import Answered, Failed, Outcome, ProbeResult, Stopped, Verdict
from ..model.stats import BackendState

FAILURES_ALLOWED = 2  # in a row; with the third a backend is out
SUSPICIOUS = 3  # tasks that failed with no answer between: a probe decides whose fault it is
MOST_REFUSALS = 256  # models of one backend of which it is known what of a request it refuses
_ANSWERED = (Verdict.FINAL, Verdict.NO_MODEL)  # the server is well


class Gate(Struct, eq=False):
    """Never more than `parallel` calls at once, and none to a server that is out.

    `models` None: any, since it cannot say or has not been asked; `spelled` says how it writes
    their names, where that is not `routing.model_name`'s way. `is_known`: it has said which
    models it has since the queue started (or the settings have); `is_unseen` while its first probe
    is under way. `lacking` are models that calls did not find since the last probe. `loaded` are
    the models in its memory as far as known, each with the runner's options that it was last asked
    with. `without` is what it refuses of what the queue adds to requests, by model.
    """

    name: str
    type: str
    parallel: int
    remote: bool = False
    priority: int = 0
    tags: frozenset[str] = frozenset()
    models: frozenset[str] | None = None
    spelled: dict[str, str] = {}
    lacking: frozenset[str] = frozenset()
    is_pinned: bool = False
    is_known: bool = True
    is_unseen: bool = False
    loaded: dict[str, str] = {}
    without: dict[str, frozenset[str]] = {}
    version: str | None = None
    running: int = 0
    healthy: bool = True
    drained: bool = False
    resting_until: float | None = None
    failures_in_a_row: int = 0  # calls that were cut or refused, and probes in vain
    suspects: frozenset[str] = frozenset()  # tasks that failed since a call or a probe went well
    refusals: int = 0  # in a row, since a call was last taken on
    error: str | None = None
    calls: int = 0
    failures: int = 0
    tokens: int = 0
    timed_tokens: int = 0  # those of replies that say how long they took
    reply_s: float = 0.0
    starts: int = 0
    waited_s: float = 0.0

    # --- may it be asked? -----------------------------------------------------------------------

    @property
    def is_in(self) -> bool:
        """It may be given calls, when it has room."""
        return self.healthy and not self.drained and self.is_known

    def is_open(self, now: float) -> bool:
        """It can take one more call at once."""
        return self.is_in and self.running < self.parallel and not self.is_resting(now)

    def is_resting(self, now: float) -> bool:
        """It asked to be left alone for a while."""
        return self.resting_until is not None and self.resting_until > now

    def serves(self, model: str) -> bool:
        return (self.models is None or model in self.models) and model not in self.lacking

    def own_name(self, model: str) -> str | None:
        """How a model is to be called here; None: as the task calls it, Ollama knows them all."""
        return None if self.type == "ollama" else self.spelled.get(model)

    def has_loaded(self, model: str, runner: str) -> bool:
        """It need not load it for a call. Only Ollama loads when asked: others have theirs."""
        return self.type != "ollama" or self.loaded.get(model) == runner

    def refuses(self, model: str) -> frozenset[str]:
        """What of a request it is not asked for this model."""
        return self.without.get(model, frozenset())

    @property
    def is_suspect(self) -> bool:
        """So many different tasks failed that it may be the server's fault: a probe will tell."""
        return len(self.suspects) >= SUSPICIOUS

    def hindrance(self, now: float) -> str | None:
        """What keeps calls from it, in a word or two; None: nothing does."""
        if self.resting_until is not None and self.is_resting(now):
            return f"resting {math.ceil(self.resting_until - now)} s"
        if self.drained:
            return "drained"
        return None if self.is_in else "away"

    def rest(self, seconds: float, now: float) -> None:
        """Leave it alone for a while."""
        self.resting_until = now + seconds

    def wake(self, now: float) -> None:
        """Its rest may be over."""
        if not self.is_resting(now):
            self.resting_until = None

    # --- facts ----------------------------------------------------------------------------------

    def enter(self, waited_s: float) -> None:
        """A call begins, of a task that has waited so long."""
        self.running += 1
        self.starts += 1
        self.waited_s += waited_s

    def load(self, model: str, runner: str, others: Container[str]) -> None:
        """It is asked for a model that it has not loaded; `others` are those that run.

        What else was loaded may have to go for it: nobody knows until the next probe.
        """
        self.loaded = {name: kept for name, kept in self.loaded.items() if name in others}
        self.loaded[model] = runner

    def lack(self, model: str) -> None:
        """A call did not find a model: it is gone, until a probe finds it."""
        self.lacking |= {model}
        self.loaded = {name: kept for name, kept in self.loaded.items() if name != model}

    def learn(self, model: str, without: frozenset[str]) -> None:
        """A call of this model was answered only without these fields."""
        if without and without != self.refuses(model):
            newest = list({**self.without, model: without}.items())[-MOST_REFUSALS:]
            self.without = dict(newest)

    def leave(self, task_id: str, outcome: Outcome | None) -> bool:
        """A task's call has ended, or its worker. True when its end puts the server out."""
        self.running -= 1
        if outcome is None or isinstance(outcome, Stopped):
            return False
        self.calls += 1
        if isinstance(outcome, Answered):
            self.tokens += outcome.reply_tokens
            if outcome.reply_s:
                self.timed_tokens += outcome.reply_tokens
                self.reply_s += outcome.reply_s
        if not isinstance(outcome, Failed) or outcome.verdict in _ANSWERED:
            self.failures_in_a_row = self.refusals = 0
            self.suspects = frozenset()
            self.failures += isinstance(outcome, Failed)
            return False
        self.failures += 1
        return self._fail(task_id, outcome)

    def _fail(self, task_id: str, failed: Failed) -> bool:
        if failed.verdict not in (Verdict.REFUSED, Verdict.CUT):
            # It answered: the fault may be the task's, and only other tasks and a probe say no.
            self.suspects |= {task_id}
            self.refusals = 0
            return False
        self.failures_in_a_row += 1
        refused = failed.verdict is Verdict.REFUSED
        if not refused:
            self.refusals = 0
        if refused or self.failures_in_a_row > FAILURES_ALLOWED:
            return self.mark_unhealthy(failed.error)
        return False

    def mark_unhealthy(self, error: str) -> bool:
        """No more calls until a probe finds it well. True if it was in."""
        self.error = error
        if not self.healthy:
            return False
        self.healthy = False
        self.refusals += 1
        return True

    def take_probe(self, result: ProbeResult, running: Iterable[str] = ()) -> bool:
        """What a probe has found, while calls of the models `running` are inside.

        True when the server comes in or goes out by it.
        """
        self.is_unseen = False
        if result.error is not None:
            self.failures_in_a_row += 1
            fell = self.failures_in_a_row > FAILURES_ALLOWED
            given_up = fell or self.is_suspect or not self.is_known
            return given_up and self.mark_unhealthy(result.error)
        was_out = not self.healthy
        if was_out or (result.version or self.version) != self.version:
            self.without = {}  # it may be another server by now
        self.healthy, self.error = True, None
        self.failures_in_a_row, self.suspects = 0, frozenset()
        self.version = result.version or self.version
        self.lacking = frozenset()
        if not self.is_pinned:
            self.models, self.spelled, self.is_known = result.models, result.spelled, True
        self.loaded = {name: self.loaded.get(name, "") for name in (*result.loaded, *running)}
        return was_out

    # --- shown ----------------------------------------------------------------------------------

    def state(self, now: float) -> BackendState:
        rest = 0.0 if self.resting_until is None else self.resting_until - now
        return BackendState(
            name=self.name,
            type=self.type,
            healthy=self.healthy,
            running=self.running,
            parallel=self.parallel,
            error=self.error,
            drained=self.drained,
            remote=self.remote,
            priority=self.priority,
            tags=sorted(self.tags),
            version=self.version,
            models=None if self.models is None else self._shown(self.models - self.lacking),
            loaded=self._shown(self.loaded),
            without=sorted(frozenset().union(*self.without.values())),
            resting_s=round(rest, 3) if rest > 0 else None,
            calls=self.calls,
            failures=self.failures,
            tokens=self.tokens,
            tokens_per_s=round(self.timed_tokens / self.reply_s, 1) if self.reply_s else None,
            wait_s=round(self.waited_s / self.starts, 3) if self.starts else None,
        )

    def _shown(self, models: Iterable[str]) -> list[str]:
        return sorted(self.spelled.get(name, name).removesuffix(":latest") for name in models)
