"""The queue as the caller of a request may use it: the only way from handlers to the queue.

Tenants see nothing of each other: what belongs to another is not found, in the same words and by
the same look-ups as what does not exist. A task never changes its tenant, so that a check before a
verb holds for the verb.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, cast

from msgspec.structs import asdict, replace

from ...actors.api.verbs import full_page
from ...actors.core.access.keys import Grant
from ...actors.core.activity.failures import FailureGroup
from ...actors.core.activity.measures import FleetMeasures
from ...actors.core.intake import arguments
from ...actors.core.intake.arguments import AnyTask
from ...actors.core.intake.bulk import MOST_IDS, BulkError, BulkResult, Filter
from ...actors.core.intake.crons import fields_of
from ...actors.core.intake.filters import task_filter
from ...actors.core.intake.submission import parse_priority
from ...actors.core.model.access_keys import Role
from ...actors.core.model.crons import Cron, CronAdded, IfExists, NewCron, TaskTemplate
from ...actors.core.model.deliveries import Delivery, DeliveryPage, is_seen_by
from ...actors.core.model.errors import Forbidden, Invalid, NotFound, unknown_model
from ...actors.core.model.events import EventRecord
from ...actors.core.model.files import FilePage, StoredFile
from ...actors.core.model.outcomes import BackendReply
from ...actors.core.model.stats import BackendState, Period, QueueStats, UsageReport
from ...actors.core.model.task_filter import TaskFilter, TaskPage
from ...actors.core.model.tasks import (
    Batch,
    BatchSubmitted,
    Status,
    Submitted,
    Task,
)
from ...actors.embedded import watch
from ...actors.embedded.files import NewFile
from ...actors.embedded.forwarded_call import ForwardedCall
from ...actors.files.blob_streams import BlobReader
from ..requests.exchange import acting, current
from ..requests.proxies import group_of
from .submission_checks import SubmissionChecks, check_level
from .submit_turns import SubmitTurns

_NEWEST = TaskFilter()


def of_caller() -> Grant:
    """The grant of the request being handled."""
    return current().caller


class ScopedQueue:
    """A queue's verbs, each limited to what the caller's key allows.

    A verb that is not defined here is for those who see all tenants: whoever adds one must say what
    a tenant may see of it.
    """

    def __init__(
        self,
        queue: Any,
        caller: Callable[[], Grant] = of_caller,
        turns: SubmitTurns | None = None,
    ) -> None:
        self.whole = queue
        self._caller = caller
        self._turns = SubmitTurns() if turns is None else turns
        self.yield_control = queue.yield_control

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self.whole, name)

        def guarded(*args: Any, **options: Any) -> Any:
            caller = self._caller()
            if caller.role is None or caller.tenant is not None:
                raise Forbidden(f"the key {caller.name} sees one tenant only: this concerns all")
            return verb(*args, **options)

        return guarded

    def bound(self) -> "ScopedQueue":
        """The same for the caller of the current request, for use in other threads."""
        caller = self._caller()
        return ScopedQueue(self.whole, lambda: caller, self._turns)

    @property
    def _grant(self) -> Grant:
        caller = self._caller()
        if caller.role is None:
            caller.check_role(Role.READER)  # raises
        return caller

    # --- submitting -----------------------------------------------------------------------------

    def submit(self, new: AnyTask, *, idempotency_key: str | None = None) -> Submitted:
        allowed = self._allowed(new)
        with self._turns.turn(self._client()), acting():
            submitted: Submitted = self.whole.submit(allowed, idempotency_key=idempotency_key)
        return submitted

    def _client(self) -> bytes | str:
        """Who submits: a key, or an address as long as there are none."""
        return self._caller().digest or group_of(current().address)

    def submit_listed(
        self,
        new: AnyTask,
        *,
        idempotency_key: str | None = None,
        expires_in: float | None = None,
    ) -> Submitted:
        allowed = self._allowed(new)
        with acting():
            submitted: Submitted = self.whole.submit_listed(
                allowed, idempotency_key=idempotency_key, expires_in=expires_in
            )
        return submitted

    def submit_batch(
        self, tasks: Iterable[AnyTask], *, idempotency_key: str | None = None
    ) -> BatchSubmitted:
        if not self._grant.is_unlimited:
            tasks = self._all_allowed(tasks)
        submitted: BatchSubmitted = self.whole.submit_batch(tasks, idempotency_key=idempotency_key)
        return submitted

    def _all_allowed(self, tasks: Iterable[AnyTask]) -> Iterator[AnyTask]:
        checks = self._checks()
        for index, new in enumerate(tasks):
            try:
                yield checks.allowed(new)
            except Forbidden as error:
                place = f"tasks[{index}]"
                raise Forbidden(
                    f"{place}.{error.message}", field=f"{place}.{error.field}"
                ) from None

    def _allowed(self, new: AnyTask) -> AnyTask:
        """The task as the key allows it, with its tenant. Raises `Forbidden`, naming the field."""
        return new if self._grant.is_unlimited else self._checks().allowed(new)

    def _checks(self) -> "SubmissionChecks":
        grant = self._grant
        backends = None
        if grant.rules.backends:
            names = self.whole.backend_types()
            backends = [name for name in names if grant.may_use_backend(name)]
        return SubmissionChecks(grant, backends)

    # --- one task -------------------------------------------------------------------------------

    def _own(self, task_id: Any) -> str:
        """The id of a task that the caller may see. Raises `NotFound` for any other."""
        plain, grant = arguments.task_id(task_id), self._grant
        if grant.tenant is not None:
            tenants = self.whole.tenants_of([plain])
            if plain not in tenants or not grant.may_see(tenants[plain]):
                raise NotFound(f"there is no task {plain}", field="id")
        return plain

    def get_task(self, task_id: Any, *, wait: float | None = None) -> Task:
        task: Task = self.whole.get_task(self._own(task_id), wait=wait)
        return task

    def get_raw_task(self, task_id: Any, *, wait: float | None = None) -> Task:
        task: Task = self.whole.get_raw_task(self._own(task_id), wait=wait)
        return task

    def get_task_status(self, task_id: Any) -> Status:
        status: Status = self.whole.get_task_status(self._own(task_id))
        return status

    def follow_task(
        self, task_id: Any, *, after: watch.ChunkPosition | None = None, heartbeat: float | None
    ) -> watch.PieceStream:
        stream: watch.PieceStream = self.whole.follow_task(
            self._own(task_id), after=after, heartbeat=heartbeat
        )
        return stream

    def follow_next(self, *, heartbeat: float | None) -> watch.PieceStream:
        """For a task that the caller submits now."""
        stream: watch.PieceStream = self.whole.follow_next(heartbeat=heartbeat)
        return stream

    def check_leads(self) -> None:
        self.whole.check_leads()

    def cancel_task(self, task_id: Any) -> Task:
        task: Task = self.whole.cancel_task(self._own(task_id))
        return task

    def revive_task(self, task_id: str, *, expires_in: float | None = None) -> None:
        self.whole.revive_task(self._own(task_id), expires_in=expires_in)

    def abandon_task(self, task_id: str) -> None:
        self.whole.abandon_task(self._own(task_id))

    def update_task_priority(self, task_id: Any, priority: Any) -> Task:
        task: Task = self.whole.update_task_priority(self._own(task_id), self._level(priority))
        return task

    def retry_task(self, task_id: Any) -> Task:
        task: Task = self.whole.retry_task(self._own(task_id))
        return task

    def delete_task(self, task_id: Any) -> Task:
        task: Task = self.whole.delete_task(self._own(task_id))
        return task

    def _level(self, priority: Any) -> int:
        level = parse_priority(priority)
        check_level(self._grant, level)
        return level

    # --- many tasks -----------------------------------------------------------------------------

    def _scoped(self, raw: Filter | None) -> TaskFilter | None:
        """The filter, for the caller's tenant alone; None if it names only others."""
        checked, tenant = task_filter(raw), self._grant.tenant
        if tenant is None:
            return checked
        if checked.tenant and tenant not in checked.tenant:
            return None
        return replace(checked, tenant=[tenant])

    def list_page(self, filter: Filter | None = None) -> TaskPage:
        return self._page(self.whole.list_page, filter)

    def list_raw_page(self, filter: Filter | None = None) -> TaskPage:
        return self._page(self.whole.list_raw_page, filter)

    def _page(self, verb: Callable[[Filter | None], TaskPage], filter: Filter | None) -> TaskPage:
        scoped = filter if self._grant.tenant is None else self._scoped(filter)
        if scoped is None and filter is not None:
            return TaskPage([])
        return verb(scoped)

    def list_tasks(self) -> list[Task]:
        """The newest tasks, as many as a page has."""
        return full_page(self.list_page, _NEWEST).tasks

    def cancel_tasks(self, ids: Any = None, *, filter: Filter | None = None) -> BulkResult:
        return self._bulk(self.whole.cancel_tasks, ids, filter)

    def retry_tasks(self, ids: Any = None, *, filter: Filter | None = None) -> BulkResult:
        return self._bulk(self.whole.retry_tasks, ids, filter)

    def delete_tasks(self, ids: Any = None, *, filter: Filter | None = None) -> BulkResult:
        return self._bulk(self.whole.delete_tasks, ids, filter)

    def reprioritize_tasks(
        self, ids: Any = None, *, filter: Filter | None = None, priority: Any
    ) -> BulkResult:
        return self._bulk(
            self.whole.reprioritize_tasks, ids, filter, priority=self._level(priority)
        )

    def _bulk(
        self, verb: Callable[..., BulkResult], ids: Any, filter: Filter | None, **more: Any
    ) -> BulkResult:
        grant = self._grant
        if grant.tenant is None:
            return verb(ids, filter=filter, **more)
        if ids is None or filter is not None:
            scoped = self._scoped(filter)
            return BulkResult(0, []) if scoped is None else verb(ids, filter=scoped, **more)
        plain = arguments.ids(ids, "ids", MOST_IDS)
        tenants = self.whole.tenants_of(plain)
        own = [each for each in plain if each in tenants and grant.may_see(tenants[each])]
        result = verb(own, **more) if own else BulkResult(0, [])
        errors = {error.id: error for error in result.errors}
        for task_id in set(plain).difference(own):
            message = f"there is no task {task_id}"
            errors[task_id] = BulkError(task_id, NotFound.code, message)
        return replace(result, errors=[errors[each] for each in plain if each in errors])

    # --- batches --------------------------------------------------------------------------------

    def get_batch(self, batch_id: Any) -> Batch:
        batch: Batch = self.whole.get_batch(batch_id)
        if not self._grant.may_see(batch.tenant):
            raise NotFound(f"there is no batch {batch.id}", field="id")
        return batch

    def list_batches(self, limit: int = 100) -> list[Batch]:
        batches: list[Batch] = self.whole.list_batches_of(self._grant.tenant, limit)
        return batches

    def cancel_batch(self, batch_id: Any) -> Batch:
        batch: Batch = self.whole.cancel_batch(self.get_batch(batch_id).id)
        return batch

    def create_batch(
        self,
        body: Mapping[str, Any],
        tenant: str | None = None,
        *,
        fallback_models: Sequence[str] | None = None,
        idempotency_key: str | None = None,
        digest: bytes = b"",
    ) -> Batch:
        grant = self._grant
        checks = self._checks()
        file_id, pairs = body.get("input_file_id"), body.get("metadata")
        if grant.tenant is not None and isinstance(file_id, str):
            try:
                self.get_file(file_id)
            except NotFound as error:
                raise Invalid(error.message, field="input_file_id") from None
        if isinstance(pairs, Mapping) and "priority" in pairs:
            with suppress(Invalid):  # the queue says it, naming the field
                self._level(pairs["priority"])
        checks.check_models(fallback_models or ())
        batch: Batch = self.whole.create_batch(
            body,
            checks.tenant_for(tenant),
            fallback_models=fallback_models,
            allowed_models=grant.rules.models,
            backend=checks.backend_for(None),
            idempotency_key=idempotency_key,
            digest=digest,
        )
        return batch

    def list_jobs(
        self, limit: int, before: str = "", endpoint: str = "", after: str = ""
    ) -> list[Batch]:
        if place := before or after:
            self.get_batch(place)
        batches: list[Batch] = self.whole.list_jobs(
            limit, before, endpoint, after, self._grant.tenant
        )
        return batches

    def cancel_job(self, batch_id: str) -> Batch:
        batch: Batch = self.whole.cancel_job(self.get_batch(batch_id).id)
        return batch

    def delete_job(self, batch_id: str) -> None:
        self.whole.delete_job(self.get_batch(batch_id).id)

    # --- webhooks -------------------------------------------------------------------------------

    def list_deliveries(self, **filters: Any) -> DeliveryPage:
        page: DeliveryPage = self.whole.list_deliveries_of(self._grant.tenant, **filters)
        return page

    def retry_delivery(self, delivery_id: str) -> Delivery:
        tenant, delivery = self._grant.tenant, self.whole.get_delivery(delivery_id)
        if tenant is not None and not is_seen_by(delivery, tenant):
            raise NotFound(f"there is no delivery {delivery_id}", field="id")
        retried: Delivery = self.whole.retry_delivery(delivery_id)
        return retried

    # --- files ----------------------------------------------------------------------------------

    def new_file(self) -> NewFile:
        file: NewFile = self.whole.new_file(self._grant.tenant)
        return file

    def get_file(self, file_id: str) -> StoredFile:
        file: StoredFile = self.whole.get_file(file_id)
        if not self._grant.may_see(file.tenant):
            raise NotFound(f"there is no file {file_id}", field="id")
        return file

    def list_files(
        self, limit: int, after: str = "", purpose: str = "", *, ascending: bool = False
    ) -> FilePage:
        page: FilePage = self.whole.list_files(
            limit, after, purpose, ascending=ascending, tenant=self._grant.tenant
        )
        return page

    def read_file(self, file_id: str) -> tuple[StoredFile, BlobReader]:
        self.get_file(file_id)
        file: tuple[StoredFile, BlobReader] = self.whole.read_file(file_id)
        return file

    def delete_file(self, file_id: str) -> StoredFile:
        self.get_file(file_id)
        file: StoredFile = self.whole.delete_file(file_id)
        return file

    # --- crons ----------------------------------------------------------------------------------

    def add_cron(
        self, new: NewCron | Mapping[str, Any], *, if_exists: IfExists | None = None
    ) -> CronAdded:
        if not self._grant.is_unlimited:
            new = self._allowed_cron(new)
        added: CronAdded = self.whole.add_cron(new, if_exists=if_exists)
        return added

    def list_cron_tasks(self) -> list[Cron]:
        crons: list[Cron] = self.whole.list_cron_tasks()
        return [cron for cron in crons if self._grant.may_see(cron.tenant)]

    def get_cron_task(self, cron_id: Any) -> Cron:
        plain = arguments.cron_id(cron_id)
        cron: Cron = self.whole.get_cron_task(plain)
        if not self._grant.may_see(cron.tenant):
            raise NotFound(f"there is no cron {plain}", field="id")
        return cron

    def update_cron_task(self, cron_id: Any, changes: Any) -> Cron:
        old = self.get_cron_task(cron_id)
        if not self._grant.is_unlimited:
            changes = self._allowed_cron(changes, old)
        cron: Cron = self.whole.update_cron_task(old.id, changes)
        return cron

    def remove_cron_task(self, cron_id: Any) -> Cron:
        cron: Cron = self.whole.remove_cron_task(self.get_cron_task(cron_id).id)
        return cron

    def enable_cron_task(self, cron_id: Any) -> Cron:
        cron: Cron = self.whole.enable_cron_task(self._runnable(cron_id))
        return cron

    def disable_cron_task(self, cron_id: Any) -> Cron:
        cron: Cron = self.whole.disable_cron_task(self.get_cron_task(cron_id).id)
        return cron

    def run_cron_task(self, cron_id: Any) -> Submitted:
        submitted: Submitted = self.whole.run_cron_task(self._runnable(cron_id))
        return submitted

    def _runnable(self, cron_id: Any) -> str:
        """The id of a cron whose task the caller may submit. Raises `Forbidden`."""
        cron = self.get_cron_task(cron_id)
        if not self._grant.is_unlimited:
            self._checks().allowed({**asdict(cron.task_template), "tenant": cron.tenant})
        return cron.id

    def _allowed_cron(self, raw: Any, old: Cron | None = None) -> dict[str, Any]:
        """The fields of a cron, or changes to the cron `old`, as the key allows them."""
        fields, checks = fields_of(raw), self._checks()
        if old is None or "tenant" in fields:
            fields["tenant"] = checks.tenant_for(fields.get("tenant"))
        template = fields.get("task_template")
        if isinstance(template, TaskTemplate):
            template = asdict(template)
        if isinstance(template, Mapping):
            kept = {} if old is None else asdict(old.task_template)
            names = ("model", "priority", "backend", "fallback_models")
            merged = {name: kept[name] for name in names if name in kept} | dict(template)
            allowed = cast(Mapping[str, Any], checks.allowed(merged))
            chosen = {
                name: allowed[name]
                for name in names
                if name in allowed and (name in template or allowed[name] != kept.get(name))
            }
            fields["task_template"] = {**template, **chosen}
        return fields

    # --- the queue ------------------------------------------------------------------------------

    def get_queue_stats(self) -> QueueStats:
        grant = self._grant
        stats: QueueStats = (
            self.whole.get_queue_stats()
            if grant.tenant is None
            else self.whole.get_tenant_stats(grant.tenant)
        )
        return stats if grant.is_unlimited else replace(stats, backends=self._seen(stats.backends))

    def get_history(
        self, span: str = "1h", *, by: str | None = None, tenant: str | None = None
    ) -> list[Period]:
        periods: list[Period] = self.whole.get_history(span, by=by, tenant=self._mine(tenant))
        return periods

    def get_usage(
        self,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        by: str | Collection[str] | None = None,
        tenant: str | None = None,
    ) -> UsageReport:
        report: UsageReport = self.whole.get_usage(
            since=since, until=until, by=by, tenant=self._mine(tenant)
        )
        return report

    def list_failures(self, limit: int = 100, *, tenant: str | None = None) -> list[FailureGroup]:
        groups: list[FailureGroup] = self.whole.list_failures(limit, tenant=self._mine(tenant))
        return groups

    def _mine(self, tenant: str | None) -> str | None:
        """The tenant to report on. Raises `Forbidden` if it is another than the caller's."""
        grant = self._grant
        if grant.is_unlimited or grant.tenant is None:
            return tenant
        named: str = SubmissionChecks(grant, None).tenant_for(tenant)
        return named

    def check_ready(self) -> list[str]:
        """As the queue's own, which needs no key; what it says beside is for callers with one."""
        notes: list[str] = self.whole.check_ready()
        return [] if self._caller().role is None else notes

    def measure_fleet(self) -> FleetMeasures | None:
        """As the queue's own: the role of a server, and counts of servers, are nobody's secret."""
        found: FleetMeasures | None = self.whole.measure_fleet()
        return found

    def list_backends(self) -> list[BackendState]:
        return self._seen(self.whole.list_backends())

    def backend_types(self) -> dict[str, str]:
        types: dict[str, str] = self.whole.backend_types()
        return {name: kind for name, kind in types.items() if self._grant.may_use_backend(name)}

    def _seen(self, backends: list[BackendState]) -> list[BackendState]:
        """The backends that the caller may use, with the models that it may."""
        grant = self._grant
        if not (grant.rules.models or grant.rules.backends):
            return backends
        return [
            replace(
                each,
                models=None if each.models is None else self._usable(each.models),
                loaded=self._usable(each.loaded),
                pinned=self._usable(each.pinned),
            )
            for each in backends
            if grant.may_use_backend(each.name)
        ]

    def _usable(self, models: Iterable[str]) -> list[str]:
        return [model for model in models if self._grant.may_use_model(model)]

    def may_use_model(self, model: str) -> bool:
        """Whether the caller's key allows a model: lists leave out all others."""
        return self._grant.may_use_model(model)

    def probe_backends(self, names: Collection[str] | None = None) -> None:
        self.whole.probe_backends(names)

    def dismiss(self, call: ForwardedCall) -> None:
        self.whole.dismiss(call)  # who has the call may end it

    def call_backends(
        self, names: Collection[str], path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, BackendReply]:
        replies: dict[str, BackendReply] = self.whole.call_backends(
            self._reachable(names, body), path, body
        )
        return replies

    def load_on_backends(
        self, names: Collection[str], path: str, body: Mapping[str, Any]
    ) -> dict[str, BackendReply]:
        replies: dict[str, BackendReply] = self.whole.load_on_backends(
            self._reachable(names, body), path, body
        )
        return replies

    def _reachable(self, names: Collection[str], body: Mapping[str, Any] | None) -> list[str]:
        """Those of the backends that the caller may use. Raises `NotFound` for a hidden model."""
        grant = self._grant
        model = (body or {}).get("model") or (body or {}).get("name")
        if isinstance(model, str) and not grant.may_use_model(model):
            raise unknown_model(model)
        return [name for name in names if grant.may_use_backend(name)]

    # --- feeds ----------------------------------------------------------------------------------

    @property
    def view(self) -> tuple[str | None, ...] | None:
        """What tells views of feeds apart; None for one that sees everything."""
        grant = self._grant
        rules = grant.rules
        if grant.is_unlimited or not (grant.tenant or rules.models or rules.backends):
            return None
        return (grant.tenant, "models", *rules.models, "backends", *rules.backends)

    def may_see_event(self, event: EventRecord) -> bool:
        """Whether the caller may see an event: of its tenant's tasks and crons, of backends that it
        may use, and of the queue as a whole."""
        grant = self._grant
        if event.backend is not None:
            return grant.may_use_backend(event.backend)
        if event.task is not None:
            return grant.may_see(event.task.tenant)
        return event.cron_id is None or grant.may_see(event.tenant)
