"""The verbs of many tasks at once, for `QueueManager`."""

from msgspec.structs import replace

from ..api.bulk_verbs import BulkVerbs
from ..api.verbs import full_page
from ..base.actor import ask_all
from ..core.intake.bulk import Bulk, BulkResult, Filter, Verb, narrowed, summed
from ..core.messages import Cancel, Delete, Reprioritize, Retry
from ..core.model.task_filter import TaskPage
from ..supervision.switchboard import Generation

TOGETHER = 100


class EmbeddedBulkVerbs(BulkVerbs):
    """Needs `_now`, which gives the actors of this boot, and `list_page`."""

    def _now(self) -> Generation:
        raise NotImplementedError

    def list_page(self, filter: Filter | None = None) -> TaskPage:
        raise NotImplementedError

    def _do_bulk(self, asked: Bulk) -> BulkResult:
        if asked.filter is None:
            return self._do(asked, asked.ids or [], left=0)
        wanted = narrowed(asked.verb, asked.filter, asked.level)
        page = TaskPage([]) if wanted is None else full_page(self.list_page, wanted)
        ids = [task.id for task in page.tasks]
        left = None if page.total is None else max(0, page.total - len(ids))
        if left == 0 or page.cursor is None:
            return self._do(asked, ids, left=0)
        return replace(self._do(asked, ids, left), cursor=page.cursor)

    def _do(self, asked: Bulk, ids: list[str], left: int | None) -> BulkResult:
        """Many commands are on their way at once, and share an fsync; others get their turn."""
        scheduler, answers = self._now().scheduler, []
        for first in range(0, len(ids), TOGETHER):
            part = ids[first : first + TOGETHER]
            answers += ask_all(scheduler, [_command(asked, task_id) for task_id in part])
        return summed(ids, answers, left)


def _command(asked: Bulk, task_id: str) -> Cancel | Retry | Delete | Reprioritize:
    match asked.verb:
        case Verb.CANCEL:
            return Cancel(task_id)
        case Verb.RETRY:
            return Retry(task_id)
        case Verb.DELETE:
            return Delete(task_id)
        case Verb.PRIORITY:
            assert asked.level is not None
            return Reprioritize(task_id, asked.level)
