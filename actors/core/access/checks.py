"""The rules for what a key may say, one line each: for the configuration and for new keys."""

import re
from collections.abc import Iterator

from ..model import limits
from ..model.access_keys import KeyRules, NewKey, Role
from ..model.errors import Invalid
from .meters import RATE_WANTED, read_rate

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
NAME_WANTED = "1 to 64 letters, digits, dots, _, @ or -, the first a letter or digit"
MOST_PATTERNS = 100
MOST = 1 << 53  # of what a budget counts: a number that JSON can represent
_OF_A_TENANT = (
    *("max_running", "max_waiting", "requests_per_day", "requests_per_month"),
    *("tokens_per_day", "tokens_per_month"),
)


def check_new(key: NewKey) -> None:
    """Raise `Invalid`, naming the field, for the first rule that a new key breaks."""
    for is_kept, field, wanted in rules_for(key.name, key):
        if not is_kept:
            raise Invalid(f"{field} must be {wanted}", field=field)


def rules_for(name: str, key: KeyRules) -> Iterator[tuple[bool, str, str]]:
    """The rules for a key of this name: whether it holds, the field, what its value must be."""
    yield NAME.fullmatch(name) is not None, "name", NAME_WANTED
    tenant, role = key.tenant, key.role
    yield role in tuple(Role), "role", "reader, user or admin"
    yield tenant is None or len(tenant.strip()) > 0, "tenant", "a name, or left out"
    is_short = tenant is None or len(tenant) <= limits.NAME
    yield is_short, "tenant", f"a name of at most {limits.NAME} characters"
    is_open = tenant is None or role != Role.ADMIN
    yield is_open, "tenant", "left out: an admin's key is for all tenants"
    for field, patterns in (("models", key.models), ("backends", key.backends)):
        yield len(patterns) <= MOST_PATTERNS, field, f"at most {MOST_PATTERNS} patterns"
        for index, pattern in enumerate(patterns):
            is_pattern = len(pattern.strip()) > 0 and len(pattern) <= limits.NAME
            wanted = f"a pattern of 1 to {limits.NAME} characters, such as qwen3*"
            yield is_pattern, f"{field}[{index}]", wanted
    level = key.max_priority
    yield level is None or 1 <= level <= 15, "max_priority", "a priority from 1 to 15"
    yield key.rate is None or read_rate(key.rate) is not None, "rate", RATE_WANTED
    for field in _OF_A_TENANT:
        value = getattr(key, field)
        yield value is None or 1 <= value <= MOST, field, "a whole number from 1"
        is_counted = value is None or role == Role.USER
        yield is_counted, field, "left out: it counts the tasks of a tenant, so it needs role user"
    until = key.expires_at
    yield until is None or until.tzinfo is not None, "expires_at", "a time with a zone"
