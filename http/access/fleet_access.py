"""The API keys of one server among several: those of the database, whoever leads."""

from collections.abc import Callable
from typing import Protocol

from ...actors.core.access.key_book import KeyBook
from ...actors.core.access.keys import Grant
from ...actors.core.fleet.servers import Sight
from ...actors.core.model.access_keys import AccessKey
from .access_control import AccessControl


class FleetState(Protocol):
    """What a server knows of the others. `boots` counts its leads."""

    boots: int
    sight: Sight | None

    @property
    def is_leading(self) -> bool: ...

    def watch(self, watcher: Callable[[], None]) -> Callable[[], None]: ...


class GrantingQueue(Protocol):
    """A queue that says what each key allows while it leads."""

    def watch_grants(self, listener: Callable[[list[Grant]], None]) -> None: ...

    def tell_grants(self) -> None: ...


class FleetAccess:
    """Keeps an `AccessControl` up to date. A leader has the keys from its actors, before it answers
    the first request; the others, who answer reads only, from their beats."""

    def __init__(
        self,
        fleet: FleetState,
        queue: GrantingQueue,
        access: AccessControl,
        configured: list[Grant],
    ) -> None:
        self._fleet, self._queue, self._access = fleet, queue, access
        self._configured = configured
        self._known_boot = 0
        self._keys: tuple[AccessKey, ...] | None = None
        fleet.watch(self._look)
        self._look()

    def begin_to_lead(self) -> None:
        """Have the keys of this server's lead."""
        boot = self._fleet.boots
        if boot == self._known_boot:
            return
        if self._known_boot:
            self._queue.tell_grants()
        else:
            self._queue.watch_grants(self._access.replace)
        self._known_boot, self._keys = boot, None

    def _look(self) -> None:
        sight = self._fleet.sight
        if self._fleet.is_leading or sight is None or sight.access_keys == self._keys:
            return
        book = KeyBook(self._configured)
        book.restore(sight.access_keys)
        self._keys = sight.access_keys
        self._access.replace(book.grants)
