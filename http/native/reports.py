"""The routes of history and usage."""

from collections.abc import Callable
from typing import Any, Protocol

from ...actors.core.activity.audit import AuditPage
from ...actors.core.model.errors import Forbidden
from .. import routes
from ..requests import reading
from ..requests.exchange import current
from .answers import Handlers
from .feed import LocalQueue

AUDIT_FILTERS = {"who", "action", "target", "since", "until", "cursor"}


class ReportingQueue(LocalQueue, Protocol):
    """A queue whose audit log can be limited to a tenant."""

    @property
    def list_audit(self) -> Callable[..., AuditPage]: ...


def report_handlers(queue: ReportingQueue) -> Handlers:
    def history() -> Any:
        query = _own(reading.texts({"span", "by", "tenant"}))
        return queue.get_history(**query)

    def usage() -> Any:
        query = _own(reading.texts({"since", "until", "by", "tenant"}))
        return queue.get_usage(**query)

    def audit() -> Any:
        query = reading.query({*AUDIT_FILTERS, "limit"})
        texts = {
            name: reading.as_unicode(query[name][-1], name) for name in AUDIT_FILTERS & query.keys()
        }
        limit = reading.page_limit(query, 100, 1000)
        return queue.list_audit(**texts, limit=limit, tenant=current().caller.tenant)

    def failures() -> Any:
        query = reading.query({"limit", "tenant"})
        limit = reading.page_limit(query, 100, 1000)
        texts = {n: reading.as_unicode(query[n][-1], n) for n in ("tenant",) if n in query}
        return queue.list_failures(limit, **_own(texts))

    return {
        routes.LIST_FAILURES: failures,
        routes.LIST_AUDIT: audit,
        routes.GET_HISTORY: history,
        routes.GET_USAGE: usage,
    }


def _own(query: dict[str, str]) -> dict[str, str]:
    """The query, of the caller's tenant if its key has one. Raises `Forbidden` for another."""
    caller = current().caller
    if caller.tenant is None:
        return query
    if not caller.may_see(query.get("tenant", caller.tenant)):
        raise Forbidden(f"the key {caller.name} sees its own tenant only", field="tenant")
    return {**query, "tenant": caller.tenant}
