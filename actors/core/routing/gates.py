"""Gates: model servers as the plan sees them, with health, models and running calls."""

import math
from collections.abc import Container, Iterable

from msgspec import Struct, field

from ..model.outcomes import Answered, Failed, Outcome, ProbeResult, Stopped, Verdict
from ..model.stats import BackendState
from .pins import Pins

FAILURES_ALLOWED = 2  # in a row; the third makes a backend unavailable
SUSPICIOUS = 3  # tasks that failed without a success between: a probe decides whose fault it is
MOST_REFUSALS = 256  # models per backend for which refused fields are remembered
_ANSWERED = (Verdict.FINAL, Verdict.NO_MODEL)  # the server is healthy


class Gate(Struct, eq=False):
    """One backend. Never gets more than `parallel` calls at once, and none while unavailable.

    `models` None: any, as it cannot list them or was not probed; `spelled` is how it spells their
    names, where that differs from `model_name`. `is_known`: it has listed its models since the
    queue started (or the settings have); `is_unseen` while its first probe is under way. `lacking`
    are models that calls did not find since the last probe. `loaded` are the models in its memory,
    as far as known, each with the runner options of its last call. `without` are the fields that
    the queue adds to requests and it refuses, by model. `pins` are the models that it must have in
    memory.
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
    pins: Pins = field(default_factory=Pins)
    version: str | None = None
    running: int = 0
    healthy: bool = True
    drained: bool = False
    resting_until: float | None = None
    failures_in_a_row: int = 0  # failed probes, and calls that were cut or refused
    suspects: frozenset[str] = frozenset()  # that failed since a call or probe succeeded
    refusals: int = 0  # in a row, since a call was last accepted
    error: str | None = None
    calls: int = 0
    failures: int = 0
    failures_by: dict[str, int] = {}  # by what the failure means
    tokens: int = 0
    timed_tokens: int = 0  # of replies whose duration is known
    reply_s: float = 0.0
    starts: int = 0
    waited_s: float = 0.0

    # --- availability ---------------------------------------------------------------------------

    @property
    def is_in(self) -> bool:
        """Whether it may get calls when it has capacity."""
        return self.healthy and not self.drained and self.is_known

    def is_open(self, now: float) -> bool:
        """Whether it can take one more call now."""
        if self.running >= self.parallel or not self.is_in:
            return False
        return self.resting_until is None or self.resting_until <= now

    def is_resting(self, now: float) -> bool:
        """Whether it asked to get no calls for a while."""
        return self.resting_until is not None and self.resting_until > now

    def is_available(self, now: float, patience: float) -> bool:
        """Whether tasks can wait for it: it gets calls, or will when its first probe has ended or
        when it has rested for `patience` seconds more at most."""
        if self.is_unseen:
            return True
        return self.is_in and (self.resting_until is None or self.resting_until <= now + patience)

    def serves(self, model: str) -> bool:
        return (self.models is None or model in self.models) and model not in self.lacking

    def own_name(self, model: str) -> str | None:
        """The backend's name for a model; None: as the task names it, Ollama accepts all forms."""
        return None if self.type == "ollama" else self.spelled.get(model)

    def has_loaded(self, model: str, runner: str) -> bool:
        """Whether a call needs no load. Only Ollama loads on request: others keep their models."""
        return self.type != "ollama" or self.loaded.get(model) == runner

    def refuses(self, model: str) -> frozenset[str]:
        """The fields that are left out of requests for this model."""
        return self.without.get(model, frozenset())

    @property
    def is_suspect(self) -> bool:
        """Whether so many tasks failed that the server may be at fault: a probe decides."""
        return len(self.suspects) >= SUSPICIOUS

    def hindrance(self, now: float) -> str | None:
        """Why it gets no calls, in a word or two; None if it does."""
        if self.resting_until is not None and self.is_resting(now):
            return f"resting {math.ceil(self.resting_until - now)} s"
        if self.drained:
            return "drained"
        return None if self.is_in else "away"

    def rest(self, seconds: float, now: float) -> None:
        """Send it no calls for a while."""
        self.resting_until = now + seconds

    def wake(self, now: float) -> None:
        """End its rest if the time is over."""
        if not self.is_resting(now):
            self.resting_until = None

    # --- facts ----------------------------------------------------------------------------------

    def enter(self, waited_s: float) -> None:
        """Count a call that starts, and how long its task waited."""
        self.running += 1
        self.starts += 1
        self.waited_s += waited_s

    def load(self, model: str, runner: str, others: Container[str]) -> None:
        """Note a call for a model that is not loaded; `others` are the models of running calls.

        Other loaded models may be evicted: unknown until the next probe, so they are dropped. Those
        that are pinned stay, unless this model is known to displace them.
        """
        self.loaded = {
            name: kept
            for name, kept in self.loaded.items()
            if name in others or self.pins.withstand(name, model)
        }
        self.loaded[model] = runner

    def lack(self, model: str) -> None:
        """Note that a call did not find a model: it counts as missing until a probe finds it."""
        self.lacking |= {model}
        self.loaded = {name: kept for name, kept in self.loaded.items() if name != model}

    def learn(self, model: str, without: frozenset[str]) -> None:
        """Note that a call of this model was answered only without these fields."""
        if without and without != self.refuses(model):
            newest = list({**self.without, model: without}.items())[-MOST_REFUSALS:]
            self.without = dict(newest)

    def leave(self, task_id: str, outcome: Outcome | None) -> bool:
        """Count the end of a call (None: its worker died). True if that makes it unavailable."""
        self.running -= 1
        if outcome is None or isinstance(outcome, Stopped):
            return False
        self.calls += 1
        if isinstance(outcome, Answered):
            self.tokens += outcome.reply_tokens
            if outcome.reply_s:
                self.timed_tokens += outcome.reply_tokens
                self.reply_s += outcome.reply_s
        if isinstance(outcome, Failed):
            reason = outcome.verdict.value
            self.failures_by[reason] = self.failures_by.get(reason, 0) + 1
        if not isinstance(outcome, Failed) or outcome.verdict in _ANSWERED:
            self.failures_in_a_row = self.refusals = 0
            self.suspects = frozenset()
            self.failures += isinstance(outcome, Failed)
            return False
        self.failures += 1
        return self._fail(task_id, outcome)

    def _fail(self, task_id: str, failed: Failed) -> bool:
        if failed.verdict not in (Verdict.REFUSED, Verdict.CUT):
            # It answered: the task may be at fault, as only other tasks and a probe can tell.
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
        """Send no calls until a probe succeeds. Returns True if it was healthy."""
        self.error = error
        if not self.healthy:
            return False
        self.healthy = False
        self.refusals += 1
        return True

    def take_probe(self, result: ProbeResult, running: Iterable[str] = ()) -> bool:
        """Apply the result of a probe, made while calls of the models `running` were running.

        Returns True if the server becomes healthy or unavailable by it.
        """
        self.is_unseen = False
        if result.error is not None:
            self.failures_in_a_row += 1
            fell = self.failures_in_a_row > FAILURES_ALLOWED
            given_up = fell or self.is_suspect or not self.is_known
            return given_up and self.mark_unhealthy(result.error)
        was_out = not self.healthy
        if was_out or (result.version or self.version) != self.version:
            self.without = {}  # it may be another server now
        self.healthy, self.error = True, None
        self.failures_in_a_row, self.suspects = 0, frozenset()
        self.version = result.version or self.version
        self.lacking = frozenset()
        if not self.is_pinned:
            self.models, self.spelled, self.is_known = result.models, result.spelled, True
        self.loaded = {name: self.loaded.get(name, "") for name in (*result.loaded, *running)}
        self.pins.take_probe(result.loaded, is_new=was_out)
        return was_out

    def missing(self, now: float) -> list[str]:
        """The pinned models that it should load now, as the settings spell them."""
        if not self.is_in:
            return []
        return self.pins.missing(self.loaded, self.serves, now)

    def newly_absent(self) -> list[str]:
        """The pinned models that it does not have, as the settings spell them, each once."""
        return self.pins.newly_absent(self.serves) if self.is_in else []

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
            pinned=sorted(self.pins.spelled.values()),
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
