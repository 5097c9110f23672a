"""Live tasks: those that wait or run."""

from collections import Counter
from collections.abc import Iterable

from ..model.entry import Entry
from .deadlines import TaskDeadlines


class Entries(dict[str, Entry]):
    """The live tasks by id, with a count of them per cron, and their deadlines."""

    def __init__(self) -> None:
        super().__init__()
        self._of_cron: Counter[str] = Counter()
        self.deadlines = TaskDeadlines(self)

    def __setitem__(self, task_id: str, entry: Entry) -> None:
        super().__setitem__(task_id, entry)
        if entry.cron_id is not None:
            self._of_cron[entry.cron_id] += 1
        if entry.is_limited:
            self.deadlines.add(entry)

    def __delitem__(self, task_id: str) -> None:
        entry = self[task_id]
        cron_id = entry.cron_id
        self.deadlines.drop(task_id)  # an entry that has started may have no limit any more
        super().__delitem__(task_id)
        if cron_id is not None:
            self._of_cron[cron_id] -= 1
            if not self._of_cron[cron_id]:
                del self._of_cron[cron_id]

    def add(self, entries: Iterable[Entry]) -> None:
        """Add many tasks that are not live yet."""
        entries = list(entries)
        self.update({entry.id: entry for entry in entries})
        self._of_cron.update(entry.cron_id for entry in entries if entry.cron_id is not None)
        self.deadlines.refill()

    def replace(self, entry: Entry) -> None:
        """Replace a task's entry."""
        super().__setitem__(entry.id, entry)

    def of_cron(self, cron_id: str) -> int:
        return self._of_cron[cron_id]
