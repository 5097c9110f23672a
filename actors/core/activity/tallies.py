"""What happened to tasks, counted by model, backend, tenant and tags; bounded in size."""

from collections.abc import Iterable

from msgspec import Struct, field

from ..model.model_names import model_name
from ..model.tasks import ErrorCode, Record, Status
from .distribution import Distribution

OTHER = "other"
MOST_KINDS = 200  # kept apart in a period; the smallest others are counted together
FOLDED = 8  # of these, for what is counted together
MOST_TAGS = 8  # of a task; further ones are not counted

Kind = tuple[str, str | None, str | None, tuple[str, ...]]
"""The model, backend, tenant and tags of tasks that are counted together. The backend is None
until a task is started. Any of them may be "other"."""


class Tally(Struct, array_like=True):
    """Counts of tasks of one kind in a period of time.

    `started`: for the first time, which ended the waits of `waits`. `runs` are the last attempts of
    `completed` tasks, `prompt_tokens` and `tokens` what these read and generated. `retried` is how
    often an attempt ended and the task waited again; `expired` of the `failed` ones were late.
    """

    submitted: int = 0
    started: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    retried: int = 0
    prompt_tokens: int = 0
    tokens: int = 0
    waits: Distribution = field(default_factory=Distribution)
    runs: Distribution = field(default_factory=Distribution)
    expired: int = 0

    @property
    def ended(self) -> int:
        return self.completed + self.failed + self.cancelled

    @property
    def size(self) -> int:
        """How much happened, to tell large kinds from small ones."""
        return self.submitted + self.started + self.ended + self.retried

    def merge(self, other: "Tally") -> None:
        """Add the counts of another one."""
        self.submitted += other.submitted
        self.started += other.started
        self.completed += other.completed
        self.failed += other.failed
        self.cancelled += other.cancelled
        self.retried += other.retried
        self.prompt_tokens += other.prompt_tokens
        self.tokens += other.tokens
        self.waits.merge(other.waits)
        self.runs.merge(other.runs)
        self.expired += other.expired

    def start(self, task: Record) -> None:
        """Count a first start, which ends the task's wait."""
        self.started += 1
        waited = 0.0
        if task.started_at is not None:
            waited = (task.started_at - task.queued_at).total_seconds()
        self.waits.add(waited)

    def end(self, task: Record) -> None:
        match task.status:
            case Status.COMPLETED:
                self.completed += 1
                self.prompt_tokens += task.prompt_tokens
                self.tokens += task.tokens
                if task.started_at is not None and task.completed_at is not None:
                    self.runs.add((task.completed_at - task.started_at).total_seconds())
            case Status.FAILED:
                self.failed += 1
                self.expired += task.error_code is ErrorCode.EXPIRED
            case Status.CANCELLED:
                self.cancelled += 1
            case Status.PENDING | Status.RUNNING:
                pass  # not an end


class KindTally(Struct, array_like=True, frozen=True):
    """The tally of one kind, as it is sent and stored."""

    model: str
    backend: str | None
    tenant: str | None
    tags: tuple[str, ...]
    tally: Tally

    @property
    def kind(self) -> Kind:
        return (self.model, self.backend, self.tenant, self.tags)


class Tallies:
    """Tallies by kind: those of the most frequent kinds exactly, all others together as "other".

    What is counted together loses first its tags, then its model, its backend, and its tenant at
    last. So no sum is ever wrong, however many names there are.
    """

    def __init__(self, tallies: Iterable[KindTally] = ()) -> None:
        self._tallies: dict[Kind, Tally] = {}
        for each in tallies:
            self.of(each.kind).merge(each.tally)

    def __bool__(self) -> bool:
        return bool(self._tallies)

    def of(self, kind: Kind) -> Tally:
        """The tally of a kind, to be added to at once: the next call may replace it."""
        tally = self._tallies.get(kind)
        if tally is None:
            if len(self._tallies) >= 2 * MOST_KINDS:
                self.shrink()
            tally = self._tallies.setdefault(kind, Tally())
        return tally

    def of_task(self, task: Record, *, has_started: bool) -> Tally:
        model, backend, tags = task.model, None, task.tags
        if has_started:
            model, backend = task.fallback or model, task.executed_on
        return self.of((model, backend, task.tenant, tuple(tags[:MOST_TAGS]) if tags else ()))

    def all(self) -> list[KindTally]:
        """The tallies, with models under their canonical names; at most `MOST_KINDS`."""
        named: dict[Kind, Tally] = {}
        for (model, backend, tenant, tags), tally in self._tallies.items():
            _merge(named, (model_name(model), backend, tenant, tags), tally)
        self._tallies = named
        self.shrink()
        return [KindTally(*kind, tally) for kind, tally in self._tallies.items()]

    def shrink(self) -> None:
        """Count small kinds together, so that `MOST_KINDS` are left."""
        if len(self._tallies) <= MOST_KINDS:
            return
        by_size = sorted(self._tallies.items(), key=lambda item: item[1].size, reverse=True)
        large, small = by_size[: MOST_KINDS - FOLDED], by_size[MOST_KINDS - FOLDED :]
        for depth in range(1, 5):
            kept = dict(large)
            names = {_folded(kind, depth) for kind, _ in small} | kept.keys()
            if len(names) <= MOST_KINDS:
                break
        for kind, tally in small:
            _merge(kept, _folded(kind, depth), tally)
        self._tallies = kept


def _merge(tallies: dict[Kind, Tally], kind: Kind, tally: Tally) -> None:
    known = tallies.get(kind)
    if known is None:
        tallies[kind] = tally
    else:
        known.merge(tally)


def _folded(kind: Kind, depth: int) -> Kind:
    """The kind that it is counted as: its first `depth` names in order of loss are "other"."""
    model, backend, tenant, tags = kind
    return (
        OTHER if depth > 1 else model,
        OTHER if depth > 2 and backend is not None else backend,
        OTHER if depth > 3 and tenant is not None else tenant,
        (OTHER,) if tags else (),
    )
