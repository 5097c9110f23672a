"""The audit log of an embedded queue: notes for commands, entries, and pages of it."""

from collections.abc import Callable

from ..base.actor import ask
from ..core.activity.audit import AuditNote, AuditPage, AuditQuery, Origin, audit_note
from ..core.activity.tracing import TraceContext
from ..core.intake.bulk import Bulk
from ..core.intake.filters import task_filter
from ..core.messages import AddAudit, ReadAudit
from ..core.model.task_filter import TaskFilter
from ..supervision.switchboard import Switchboard


class Auditor:
    """Says who makes a change. `origin` returns that of the call that is being made: the program
    itself, unless the server replaces it by that of its request. `trace` returns the trace that the
    call belongs to, if it says so."""

    def __init__(self, switchboard: Switchboard) -> None:
        self._switchboard = switchboard
        self.origin: Callable[[], Origin] = Origin
        self.trace: Callable[[], TraceContext | None] = lambda: None

    def note(self, action: str, target: str = "", detail: str = "") -> AuditNote:
        """The note for a command."""
        return audit_note(action, target, detail, self.origin())

    def record(self, action: str, target: str = "", detail: str = "") -> None:
        """Save an entry at once, ahead of a change without a commit of its own."""
        command = AddAudit(self.note(action, target, detail))
        ask(self._switchboard.current().persistence, command)

    def record_bulk(self, bulk: Bulk, tasks: int) -> None:
        """Save the entry of an action on many tasks, ahead of it."""
        count = "1 task" if tasks == 1 else f"{tasks} tasks"
        level = "" if bulk.level is None else f", priority {bulk.level}"
        self.record(f"{_VERBS[bulk.verb.value]}_tasks", "", f"{count}{level}{_by(bulk)}")

    def page(self, query: AuditQuery) -> AuditPage:
        return ask(self._switchboard.readable().persistence, ReadAudit(query))


_VERBS = {"cancel": "cancel", "retry": "retry", "delete": "delete", "priority": "reprioritize"}


def _by(bulk: Bulk) -> str:
    """How the tasks were chosen. Texts that a filter searches for may be those of prompts."""
    if bulk.filter is None:
        return ", by id"
    checked, plain = task_filter(bulk.filter), TaskFilter()
    names = [
        name
        for name in TaskFilter.__struct_fields__
        if name not in ("limit", "offset", "cursor", "sort", "include")
        and getattr(checked, name) != getattr(plain, name)
    ]
    shown = [name if name == "q" else f"{name}={_text(getattr(checked, name))}" for name in names]
    return f", by filter {' '.join(shown)}" if shown else ", all"


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
