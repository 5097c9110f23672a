"""What the keys of a tenant allow it to have and use: waiting tasks, and budgets of a day or month.

A budget counts from when a key of the tenant has one. A task is counted when it is accepted, its
tokens at the end of each call.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from ..model.access_keys import Budget, TenantUsage
from ..model.errors import QueueFull
from ..model.orders import SaveUsage
from ..model.outcomes import Answered, Outcome
from .key_book import TenantLimits
from .meters import next_day, next_month


class WaitingTasks(Protocol):
    """The tasks that wait."""

    def of_tenant(self, tenant: str, /) -> Mapping[Any, int]:
        """How many of a tenant's do, by reason."""


class Quotas:
    """Checks and counts what each tenant with limits uses."""

    def __init__(self, waiting: WaitingTasks) -> None:
        self._waiting = waiting
        self._reserved: dict[str, int] = {}  # tasks of batches that do not wait yet
        self.limits: Mapping[str, TenantLimits] = {}
        self.usages: dict[str, TenantUsage] = {}

    def check(self, tenant: str | None, tasks: int, now: float) -> None:
        """Raise `QueueFull` if a tenant may not submit so many more tasks now."""
        limits = self.limits.get(tenant) if tenant is not None else None
        if limits is None or tenant is None:
            return
        waiting = sum(self._waiting.of_tenant(tenant).values()) + self._reserved.get(tenant, 0)
        if limits.max_waiting is not None and waiting + tasks > limits.max_waiting:
            raise QueueFull(
                f"at most {limits.max_waiting} tasks of {tenant} may wait, {waiting} do",
                retry_after_s=5,
            )
        for name, most, spent, until in self._budgets(tenant, limits, now):
            needed = tasks if name.startswith("requests") else 1
            if spent + needed > most:
                what = name.replace("requests", "tasks").replace("_per_", " a ")
                message = f"the budget of {tenant} is used up: {most} {what}, by UTC"
                raise QueueFull(message, retry_after_s=until - now)

    def budgets(self, tenant: str | None, now: float) -> list[Budget]:
        """What is left of a tenant's budgets; none for one without."""
        limits = self.limits.get(tenant) if tenant is not None else None
        if limits is None or tenant is None:
            return []
        return [
            Budget(
                name=name,
                limit=most,
                used=spent,
                left=max(0, most - spent),
                resets_at=datetime.fromtimestamp(until, UTC),
            )
            for name, most, spent, until in self._budgets(tenant, limits, now)
        ]

    def _budgets(
        self, tenant: str, limits: TenantLimits, now: float
    ) -> Iterator[tuple[str, int, int, float]]:
        """The name and limit of each, how much is used, and until when it counts."""
        if not limits.has_budget:
            return
        used = self.usages.get(tenant, TenantUsage()).at(now)
        day, month = next_day(now), next_month(now)
        for name, spent, until in (
            ("requests_per_day", used.day_requests, day),
            ("requests_per_month", used.month_requests, month),
            ("tokens_per_day", used.day_tokens, day),
            ("tokens_per_month", used.month_tokens, month),
        ):
            most = getattr(limits, name)
            if most is not None:
                yield name, most, spent, until

    def accepted(self, tenant: str | None, tasks: int, now: float) -> Iterator[SaveUsage]:
        """Count accepted tasks."""
        return self._spend(tenant, tasks, 0, now)

    def ended(self, tenant: str | None, outcome: Outcome, now: float) -> Iterator[SaveUsage]:
        """Count the tokens of a call."""
        tokens = 0
        if isinstance(outcome, Answered):
            tokens = outcome.prompt_tokens + outcome.reply_tokens
        return self._spend(tenant, 0, tokens, now)

    def _spend(
        self, tenant: str | None, tasks: int, tokens: int, now: float
    ) -> Iterator[SaveUsage]:
        limits = self.limits.get(tenant) if tenant is not None else None
        if limits is None or tenant is None or not limits.has_budget or not (tasks or tokens):
            return
        used = self.usages.get(tenant, TenantUsage()).at(now).plus(tasks, tokens)
        self.usages[tenant] = used
        yield SaveUsage(tenant, used)

    def reserve(self, tenant: str | None, tasks: int) -> None:
        """Count tasks of a batch, which will wait soon (or, negative, do now)."""
        if tenant is not None and (tenant in self.limits or tenant in self._reserved):
            left = self._reserved.get(tenant, 0) + tasks
            if left > 0:
                self._reserved[tenant] = left
            else:
                self._reserved.pop(tenant, None)
