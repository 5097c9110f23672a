"""The verbs of many tasks at once, the same for `QueueManager` and `Client`."""

from collections.abc import Collection

from ..core.intake.arguments import OfTask
from ..core.intake.bulk import Bulk, BulkResult, Filter, Verb, bulk
from ..core.model.tasks import Priority


class BulkVerbs:
    """Needs `_do_bulk`, which does one of them."""

    def _do_bulk(self, asked: Bulk) -> BulkResult:
        raise NotImplementedError

    def cancel_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult:
        return self._do_bulk(bulk(Verb.CANCEL, ids, filter))

    def retry_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult:
        return self._do_bulk(bulk(Verb.RETRY, ids, filter))

    def delete_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult:
        return self._do_bulk(bulk(Verb.DELETE, ids, filter))

    def reprioritize_tasks(
        self,
        ids: Collection[OfTask] | None = None,
        *,
        filter: Filter | None = None,
        priority: int | Priority | str,
    ) -> BulkResult:
        return self._do_bulk(bulk(Verb.PRIORITY, ids, filter, priority))
