"""Replaces Scheduler and CronTicker while nothing can be saved."""

import time
from collections.abc import Callable

from msgspec.structs import replace

from .base.actor import Actor, Replied, reply
from .base.cooperation import YieldControl, never_yield
from .core.activity.measures import PlanMeasures, WebhookMeasures
from .core.messages import (
    Describe,
    Drain,
    Explain,
    GetBudgets,
    GetCron,
    GetWaitReasons,
    ListAccessKeys,
    ListCrons,
    MeasurePlan,
    MeasureWebhooks,
    ToCronTicker,
    ToScheduler,
)
from .core.messages.replies import Recovered
from .core.model.errors import NotFound, Unavailable
from .core.model.stats import PlanState
from .core.plan.explain import describe, due_by_model, explain, reasons
from .core.plan.plan import Plan


class ReadOnlyScheduler(Actor):
    """Answers read-only commands, and refuses all others with the same message.

    Its plan has no slots: it knows the tasks, starts none, and fails none that are late.
    """

    def __init__(
        self,
        report: Callable[[str], None],
        *,
        yield_control: YieldControl = never_yield,
        plan: Plan,
        recovered: Recovered,
        refusal: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(report, yield_control)
        self.plan, self.refusal, self.clock = plan, refusal, clock
        self.crons = {cron.id: cron for cron in recovered.crons}
        flags = [name for name, is_on in recovered.flags.items() if is_on]
        plan.restore_access(recovered.access_keys, recovered.usages)
        for _ in plan.restore(recovered.waiting, [], flags, clock()):
            yield_control()

    def handle(self, message: ToScheduler | ToCronTicker | MeasureWebhooks) -> Replied:
        match message:
            case Explain(task_ids):
                return reply(message, explain(self.plan, task_ids, self.clock()))
            case GetWaitReasons():
                return reply(message, reasons(self.plan, self.clock()))
            case Describe(tenant):
                return reply(message, self.describe(tenant))
            case ListAccessKeys():
                infos = self.plan.key_infos(self.clock())
                return reply(message, (infos, self.plan.access.grants))
            case GetBudgets(tenant):
                return reply(message, self.plan.quotas.budgets(tenant, self.clock()))
            case MeasureWebhooks():
                return reply(message, WebhookMeasures(None, {}))
            case MeasurePlan():
                state = self.describe()
                return reply(message, PlanMeasures(state, due_by_model(self.plan), {}, 0))
            case GetCron(cron_id):
                if cron_id not in self.crons:
                    raise NotFound(f"there is no cron {cron_id}", field="id")
                return reply(message, self.crons[cron_id])
            case ListCrons():
                return reply(message, [self.crons[cron_id] for cron_id in sorted(self.crons)])
            case Drain():
                return reply(message, True)
            case _:
                raise Unavailable(self.refusal, retry_after_s=5)

    def describe(self, tenant: str | None = None) -> PlanState:
        state = describe(self.plan, self.clock(), tenant)
        return replace(state, read_only=self.refusal)
