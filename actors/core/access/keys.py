"""API keys: what each of them allows, and the grant that a request with one has."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import Annotated

from msgspec import Struct

from ..model.errors import Forbidden, Unauthorized
from ..model.model_names import model_name
from ..model.tasks import PublicRecord

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

    Those who have it see and touch only tasks of its `tenant`; None: all. A user's key without one
    has its name as tenant. `models` and `backends` are patterns, in which `*` matches anything.
    `max_priority` (1 to 15) bounds tasks that it submits or changes, `rate` its requests: "10/s",
    "100/m" or "1000/h". `max_running`, `max_waiting` and the budgets, of a day or month of UTC,
    count the tasks of its tenant. `expires_at` is an aware time.
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


class KeyInfo(KeyRules, frozen=True, kw_only=True):
    """A key as lists show it: `hint` is how it begins, "" for a key of the configuration, which
    has `source` "config" and cannot be changed by requests; that of others is "store"."""

    name: str
    source: str
    hint: str = ""
    created_at: datetime | None = None


class KeyCreated(Struct, PublicRecord, frozen=True, kw_only=True):
    """A new key: this is the only time that the `key` itself is shown."""

    name: str
    key: str


class Grant(Struct, frozen=True):
    """What a request may do: that of the key it came with.

    `role` None is nobody: nothing is allowed but what needs no key.
    """

    name: str
    role: Role | None
    rules: KeyRules = KeyRules()
    tenant: str | None = None
    digest: bytes = b""

    @property
    def is_unlimited(self) -> bool:
        """Whether there is nothing to check: the queue has no keys."""
        return self is EVERYONE

    def check_role(self, needed: Role) -> None:
        """Raise `Forbidden` for a role that does not include the one needed."""
        if self.role is None:
            raise Unauthorized("this request needs an API key")
        if not self.role.includes(needed):
            article = "an" if needed is Role.ADMIN else "a"
            raise Forbidden(
                f"the key {self.name} has the role {self.role}: this needs {article} {needed} key"
            )

    def check_time(self, now: float) -> None:
        """Raise `Unauthorized` if the key has expired by `now`, in seconds since 1970."""
        until = self.rules.expires_at
        if until is not None and until.timestamp() <= now:
            at = until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            raise Unauthorized(f"the key {self.name} has expired at {at}")

    def may_see(self, tenant: str | None) -> bool:
        """Whether tasks of a tenant are visible."""
        return self.tenant is None or self.tenant == tenant

    def may_use_model(self, model: str) -> bool:
        return not self.rules.models or _fits(model_name(model), self.rules.models)

    def may_use_backend(self, name: str) -> bool:
        return not self.rules.backends or _fits(name, self.rules.backends)


NOBODY = Grant("", None)
EVERYONE = Grant("", Role.ADMIN)  # while the queue has no keys


def _fits(name: str, patterns: Iterable[str]) -> bool:
    spelled = (each for pattern in patterns for each in (pattern, model_name(pattern)))
    return any(_fitting(pattern).fullmatch(name) for pattern in spelled)


@lru_cache(maxsize=1024)
def _fitting(pattern: str) -> re.Pattern[str]:
    """What a pattern fits: `*` is anything."""
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


def digest_of(key: str) -> bytes:
    """The SHA-256 of a key, which is all that the queue keeps of it."""
    return sha256(key.encode("utf-8", "surrogatepass")).digest()


def grant_of(name: str, digest: bytes, rules: KeyRules) -> Grant:
    """The grant of a key; a user's key without a tenant has its name as tenant."""
    tenant = rules.tenant or (name if rules.role is Role.USER else None)
    return Grant(name, rules.role, rules, tenant, digest)
