"""The API keys of a queue: those of its configuration, and those that requests have added."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from ..model.access_keys import RULES, AccessKey, KeyInfo, KeyRules, Role
from ..model.errors import Conflict, NotFound
from .keys import Grant, grant_of

MOST_KEYS = 10_000


class TenantLimits(Struct, frozen=True):
    """How much a tenant may have and use: the smallest values of its keys, None without limit."""

    max_running: int | None = None
    max_waiting: int | None = None
    requests_per_day: int | None = None
    requests_per_month: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None

    @property
    def has_budget(self) -> bool:
        budgets = (self.requests_per_day, self.requests_per_month, self.tokens_per_day)
        return any(each is not None for each in (*budgets, self.tokens_per_month))


_LIMITS = TenantLimits.__struct_fields__


class KeyBook:
    """Knows all keys. Those of the configuration cannot be changed."""

    def __init__(self, configured: Iterable[Grant] = ()) -> None:
        self._configured = {grant.name: grant for grant in configured}
        self._stored: dict[str, AccessKey] = {}

    def restore(self, stored: Iterable[AccessKey]) -> None:
        """Restore the keys from disk. One that the configuration names too is its own now."""
        self._stored = {key.name: key for key in stored if key.name not in self._configured}

    def add(self, key: AccessKey) -> None:
        """Add a key. Raises `Conflict` for a name that is taken, or if the first is no admin's."""
        if key.name in self._configured or key.name in self._stored:
            raise Conflict(f"there is a key named {key.name} already", field="name")
        if not (self._configured or self._stored) and key.role is not Role.ADMIN:
            raise Conflict(
                "the first key must have the role admin: with it, every request needs a key",
                field="role",
            )
        if len(self._stored) >= MOST_KEYS:
            raise Conflict(f"there are {MOST_KEYS} keys already: revoke some", field="name")
        self._stored[key.name] = key

    def revoke(self, name: str) -> AccessKey:
        """Remove a key. Raises `NotFound`, and `Conflict` for the last admin's."""
        key = self._changeable(name)
        rest = [each.role for each in self.grants if each.name != name]
        if key.role is Role.ADMIN and Role.ADMIN not in rest:
            raise Conflict(
                f"{name} is the last admin's key: add another one first, here or in auth.keys",
                field="name",
            )
        del self._stored[name]
        return key

    def rotate(self, name: str, digest: bytes, hint: str) -> AccessKey:
        """Give a name another key. Raises `NotFound`."""
        key = replace(self._changeable(name), digest=digest, hint=hint)
        self._stored[name] = key
        return key

    def _changeable(self, name: str) -> AccessKey:
        if name in self._configured:
            raise Conflict(
                f"the key {name} is one of the configuration: change it in auth.keys", field="name"
            )
        if name not in self._stored:
            raise NotFound(f"there is no key {name}", field="name")
        return self._stored[name]

    @property
    def grants(self) -> list[Grant]:
        """What each key allows."""
        stored = (grant_of(key.name, key.digest, key) for key in self._stored.values())
        return [*self._configured.values(), *stored]

    @property
    def infos(self) -> list[KeyInfo]:
        """All keys as lists show them, by name."""
        configured = (
            KeyInfo(name=grant.name, source="config", **_rules(grant.rules))
            for grant in self._configured.values()
        )
        stored = (info_of(key) for key in self._stored.values())
        return sorted([*configured, *stored], key=lambda info: info.name)

    @property
    def limits(self) -> dict[str, TenantLimits]:
        """The limits of each tenant that has any."""
        limits: dict[str, TenantLimits] = {}
        for grant in self.grants:
            tenant, rules = grant.tenant, grant.rules
            if tenant is None or all(getattr(rules, name) is None for name in _LIMITS):
                continue
            old = limits.get(tenant, TenantLimits())
            smallest = {
                name: min(
                    (each for each in (getattr(old, name), getattr(rules, name)) if each),
                    default=None,
                )
                for name in _LIMITS
            }
            limits[tenant] = TenantLimits(**smallest)
        return limits


def info_of(key: AccessKey) -> KeyInfo:
    return KeyInfo(
        name=key.name, source="store", hint=key.hint, created_at=key.created_at, **_rules(key)
    )


def _rules(rules: KeyRules) -> dict[str, Any]:
    facts = asdict(rules)
    return {name: facts[name] for name in RULES}
