"""API keys: what each of them allows, and the grant that a request with one has."""

import re
from collections.abc import Iterable
from datetime import UTC
from functools import lru_cache
from hashlib import sha256

from msgspec import Struct

from ..model.access_keys import KeyRules, Role
from ..model.errors import Forbidden, Unauthorized
from ..model.model_names import model_name


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
        if until is not None and self.has_expired(now):
            at = until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            raise Unauthorized(f"the key {self.name} expired at {at}")

    def has_expired(self, now: float) -> bool:
        """Whether the key is of no use any more at `now`, in seconds since 1970."""
        until = self.rules.expires_at
        return until is not None and until.timestamp() <= now

    def may_see(self, tenant: str | None) -> bool:
        """Whether tasks of a tenant are visible."""
        return self.tenant is None or self.tenant == tenant

    def may_use_model(self, model: str) -> bool:
        return not self.rules.models or fits_model(model, self.rules.models)

    def may_use_backend(self, name: str) -> bool:
        return not self.rules.backends or _fits(name, self.rules.backends)


NOBODY = Grant("", None)
EVERYONE = Grant("", Role.ADMIN)  # while the queue has no keys


def fits_model(model: str, patterns: Iterable[str]) -> bool:
    """Whether a model's name fits one of these patterns."""
    return _fits(model_name(model), patterns)


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
    role = Role(rules.role)  # a program may have written it as text
    tenant = rules.tenant or (name if role is Role.USER else None)
    return Grant(name, role, rules, tenant, digest)
