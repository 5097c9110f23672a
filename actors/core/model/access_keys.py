"""API keys: what a key says, and what its tenant has used of its budgets."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

from msgspec import Struct

from .tasks import PublicRecord

# Plain numbers and text, marked with their notation for `actors/settings`.
TopPriority = Annotated[int, "priority"]
Rate = Annotated[str, "rate"]
Moment = Annotated[datetime, "time"]

PREFIX = "oq_"
SHOWN = 10  # characters of a key that lists show, so that people recognise it


class Role(StrEnum):
    """What a key is for. Each role includes those before it."""

    READER = "reader"  # reads
    USER = "user"  # submits tasks too, and changes them
    ADMIN = "admin"  # operates the queue too: pause, drain, keys

    def includes(self, other: "Role") -> bool:
        return _RANK[self] >= _RANK[other]


_RANK = {role: rank for rank, role in enumerate(Role)}


class KeyRules(Struct, PublicRecord, frozen=True, kw_only=True):
    """What a key allows; None or an empty list is no limit.

    `role` is "reader", "user" or "admin". Those who have it see and touch only tasks of its
    `tenant`; None: all. A user's key without one has its name as tenant. `models` and `backends`
    are patterns, in which `*` matches anything. `max_priority` (1 to 15) bounds tasks that it
    submits or changes, `rate` its requests: "10/s", "100/m" or "1000/h". `max_running`,
    `max_waiting` and the budgets `requests_per_day`, `requests_per_month`, `tokens_per_day` and
    `tokens_per_month` (by UTC) count the tasks of its tenant. `expires_at` is an aware time.
    """

    role: Role = Role.USER
    tenant: str | None = None
    models: list[str] = []
    backends: list[str] = []
    max_priority: TopPriority | None = None
    max_running: int | None = None
    max_waiting: int | None = None
    rate: Rate | None = None
    requests_per_day: int | None = None
    requests_per_month: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    expires_at: Moment | None = None


RULES = KeyRules.__struct_fields__


class NewKey(KeyRules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to add: its `name`, unique among all keys, and what it allows, as in `KeyRules`."""

    name: str


class AccessKey(KeyRules, frozen=True, kw_only=True):
    """A key as the store has it: all but the key itself, of which it has the SHA-256 `digest`.

    `hint` is how the key begins. A key has 256 random bits: nobody can try all keys, so a fast hash
    protects it as well as a slow one would, and costs each request a microsecond.
    """

    name: str
    digest: bytes
    hint: str
    created_at: datetime


class Budget(Struct, PublicRecord, frozen=True, kw_only=True):
    """What is left of one of a tenant's budgets.

    `name` is that of the key's field, such as "tokens_per_day". Of its `limit`, `used` are used,
    and `left` are left, 0 or more, until `resets_at`, when the day or month of UTC ends.
    """

    name: str
    limit: int
    used: int
    left: int
    resets_at: datetime


class KeyInfo(KeyRules, frozen=True, kw_only=True):
    """A key as lists show it: its `name`, and what it allows, as in `KeyRules`.

    `hint` is how the key begins, "" for one of the configuration, which has `source` "config" and
    no `created_at`, and cannot be changed by requests; the `source` of others is "store". In lists,
    `budgets` are what is left of those of its tenant.
    """

    name: str
    source: str
    hint: str = ""
    created_at: datetime | None = None
    budgets: list[Budget] = []


class KeyCreated(Struct, PublicRecord, frozen=True, kw_only=True):
    """A new key of this `name`: this is the only time that the `key` itself is shown."""

    name: str
    key: str


class TenantUsage(Struct, frozen=True, gc=False, array_like=True):
    """What a tenant has used: on the UTC day `day` (days since 1970) and in its month.

    A request is an accepted task; tokens are those of prompts and replies.
    """

    day: int = 0
    day_requests: int = 0
    day_tokens: int = 0
    month_requests: int = 0
    month_tokens: int = 0

    def at(self, now: float) -> "TenantUsage":
        """The same as seen at `now`: counts of a day or month that has ended are 0.

        A clock that goes back does not bring an earlier day's counts back: they go on.
        """
        today = int(now // 86_400)
        if today <= self.day:
            return self
        if _month(today) != _month(self.day):
            return TenantUsage(today)
        return TenantUsage(today, 0, 0, self.month_requests, self.month_tokens)

    def plus(self, requests: int, tokens: int) -> "TenantUsage":
        return TenantUsage(
            self.day,
            self.day_requests + requests,
            self.day_tokens + tokens,
            self.month_requests + requests,
            self.month_tokens + tokens,
        )


def _month(day: int) -> tuple[int, int]:
    date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
    return date.year, date.month
