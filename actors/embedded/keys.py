"""The API keys of a queue: made here, kept by the Scheduler as hashes, and told to the doors."""

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import asdict

from ..base.actor import ask
from ..core.access.keys import Grant, digest_of
from ..core.intake import arguments
from ..core.intake.access_keys import new_key
from ..core.messages import AddAccessKey, ListAccessKeys, RevokeAccessKey, RotateAccessKey
from ..core.model import limits
from ..core.model.access_keys import PREFIX, SHOWN, AccessKey, KeyCreated, KeyInfo, NewKey
from ..core.plan.settle import utc
from ..supervision.switchboard import Switchboard
from .auditing import Auditor

RANDOM_BYTES = 32

OnGrants = Callable[[list[Grant]], None]


class EmbeddedKeys:
    """`QueueManager`'s verbs for API keys. They raise `NotFound` for an unknown name."""

    def __init__(self, switchboard: Switchboard, auditor: Auditor) -> None:
        self._switchboard, self._auditor = switchboard, auditor
        self._listeners: list[OnGrants] = []

    def listen(self, listener: OnGrants) -> None:
        """Call `listener` with what each key allows, now and after each change."""
        self._listeners.append(listener)
        self.tell()

    def all(self) -> list[KeyInfo]:
        return self._read()[0]

    def add(self, new: NewKey | Mapping[str, Any]) -> KeyCreated:
        with arguments.reading("new"):
            checked = new_key(new)
        key, digest, hint = _made()
        stored = AccessKey(**asdict(checked), digest=digest, hint=hint, created_at=utc(time.time()))
        note = self._auditor.note("add_key", checked.name, f"role {checked.role}")
        ask(self._switchboard.current().scheduler, AddAccessKey(stored, audit=note))
        self.tell()
        return KeyCreated(name=checked.name, key=key)

    def rotate(self, name: str) -> KeyCreated:
        name = arguments.text(name, "name", limits.NAME)
        key, digest, hint = _made()
        command = RotateAccessKey(name, digest, hint, audit=self._auditor.note("rotate_key", name))
        ask(self._switchboard.current().scheduler, command)
        self.tell()
        return KeyCreated(name=name, key=key)

    def revoke(self, name: str) -> KeyInfo:
        name = arguments.text(name, "name", limits.NAME)
        command = RevokeAccessKey(name, audit=self._auditor.note("revoke_key", name))
        info = ask(self._switchboard.current().scheduler, command)
        self.tell()
        return info

    def _read(self) -> tuple[list[KeyInfo], list[Grant]]:
        return ask(self._switchboard.current().scheduler, ListAccessKeys())

    def tell(self) -> None:
        """Tell the listeners what each key allows now."""
        grants = self._read()[1]
        for listener in self._listeners:
            listener(grants)


def _made() -> tuple[str, bytes, str]:
    """A new key, its hash, and what lists show of it."""
    key = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    return key, digest_of(key), key[:SHOWN]
