"""Deliveries in the store, and the rows by which the due ones are found."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ..core.messages.replies import DueDeliveries
from ..core.model.deliveries import (
    Delivery,
    DeliveryPage,
    StoredDelivery,
    is_seen_by,
)
from ..core.model.errors import NotFound
from .encoding import Changes, Family, encode
from .indexes import moment_key

# delivery:d<id>                             -> StoredDelivery, msgpack
# delivery:w<receiver><due><id>              -> nothing, while it waits; a receiver is an origin
# delivery:o<target><task id or ->.<id>      -> nothing, while it waits: a task's go in order
# delivery:t<task id>.<id>                   -> nothing
# delivery:e<id>                             -> nothing, once it has ended
# delivery:n                                 -> how many wait
_RECORD, _WAITING, _ORDER, _OF_TASK, _ENDED = (b"delivery:" + bytes([kind]) for kind in b"dwote")
_COUNT = b"delivery:n"
_END = b"\xff"
_PER_RECEIVER = 4  # deliveries to one receiver that one search finds
_RECEIVERS = 500  # that one search looks at
_SCANNED = 2000  # deliveries that a page looks at
_LONGEST = timedelta(hours=27)
_DIGEST = 16  # hexadecimal digits
_RECEIVER = slice(len(_WAITING), len(_WAITING) + _DIGEST)
_DUE = slice(_RECEIVER.stop, _RECEIVER.stop + 14)

_decode = msgspec.msgpack.Decoder(StoredDelivery).decode


class DeliveryStore:
    """The deliveries of a store.

    Those that wait are found by the receiver they go to, so that one that does not answer, and has
    thousands waiting, keeps nobody else's waiting.
    """

    def __init__(self, families: dict[str, Family], handles: dict[str, Any]) -> None:
        self._families, self._handles = families, handles
        self._waiting: int | None = None  # not read yet

    # --- writing --------------------------------------------------------------------------------

    def add(self, changes: Changes, stored: StoredDelivery) -> None:
        """Write a new delivery."""
        handle = self._handles["meta"]
        if stored.delivery.task_id is not None:
            changes.put(_task_row(stored.delivery.task_id, stored.delivery.id), b"", handle)
        self._put(changes, stored)

    def change(self, changes: Changes, stored: StoredDelivery) -> None:
        """Write a delivery in place of what is stored; nothing if it is not stored any more."""
        was = self.get(stored.delivery.id)
        if was is not None:
            self._drop_rows(changes, was)
            self._put(changes, stored)

    def delete(self, changes: Changes, delivery_id: str) -> None:
        stored = self.get(delivery_id)
        if stored is None:
            return
        handle = self._handles["meta"]
        changes.delete(_record_row(delivery_id), handle)
        self._drop_rows(changes, stored)
        if stored.delivery.task_id is not None:
            changes.delete(_task_row(stored.delivery.task_id, delivery_id), handle)

    def _put(self, changes: Changes, stored: StoredDelivery) -> None:
        handle = self._handles["meta"]
        changes.put(_record_row(stored.delivery.id), encode(stored), handle)
        if stored.delivery.next_attempt_at is not None:
            changes.put(_waiting_row(stored, stored.delivery.next_attempt_at), b"", handle)
            changes.put(_order_row(stored), b"", handle)
            self._count_waiting(changes, 1)
        else:
            changes.put(_ended_row(stored.delivery.id), b"", handle)

    def _drop_rows(self, changes: Changes, stored: StoredDelivery) -> None:
        handle = self._handles["meta"]
        if stored.delivery.next_attempt_at is not None:
            changes.delete(_waiting_row(stored, stored.delivery.next_attempt_at), handle)
            changes.delete(_order_row(stored), handle)
            self._count_waiting(changes, -1)
        else:
            changes.delete(_ended_row(stored.delivery.id), handle)

    def _count_waiting(self, changes: Changes, step: int) -> None:
        self._waiting = self.waiting + step
        changes.put(_COUNT, b"%d" % self._waiting, self._handles["meta"])

    # --- reading --------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many wait, or are being made."""
        if self._waiting is None:
            self._waiting = int(self._families["meta"].get(_COUNT) or b"0")
        return self._waiting

    def get(self, delivery_id: str) -> StoredDelivery | None:
        return _get(self._families["meta"], delivery_id)

    def one(self, delivery_id: str) -> StoredDelivery:
        """Raises `NotFound`."""
        stored = self.get(delivery_id)
        if stored is None:
            raise NotFound(f"there is no delivery {delivery_id}", field="id")
        return stored

    def due(self, now: datetime, after: str) -> Callable[[], DueDeliveries]:
        """Return a function that finds deliveries to make; it may run in any thread.

        It looks at the receivers after `after`: of each it takes the first that are due, and that
        follow no other that waits to be sent to the same URL about the same task.
        """
        family, limit = self._families["meta"].snapshot(), moment_key(now).encode()
        # No delay is as long: a later one was set by a clock that was wrong.
        latest = moment_key(now + _LONGEST).encode()
        # An iterator that a snapshot creates later also shows newer writes (rocksdict 0.3.29).
        newest = next(family.between(_RECORD, _RECORD + _END, True), (_RECORD, b""))[0]
        waiting = self.waiting

        def find() -> DueDeliveries:
            found: list[StoredDelivery] = []
            first_due: bytes | None = None
            receiver, start = after.encode(), _WAITING
            for _ in range(_RECEIVERS):
                if receiver:
                    start = _WAITING + receiver + _END
                first = next(family.between(start, _WAITING + _END), None)
                if first is None:
                    return DueDeliveries(found, _moment(first_due), None, waiting)
                receiver, count = first[0][_RECEIVER], 0
                for key, _ in family.between(_WAITING + receiver, _WAITING + receiver + _END):
                    if limit < key[_DUE] <= latest:
                        first_due = min(first_due or key[_DUE], key[_DUE])
                        break
                    delivery_id = key[_DUE.stop :].decode()
                    stored = _get(family, delivery_id)
                    is_new = _record_row(delivery_id) > newest
                    if stored is None or is_new or not _is_first(family, stored):
                        continue
                    found.append(stored)
                    count += 1
                    if count == _PER_RECEIVER:
                        break
            return DueDeliveries(found, _moment(first_due), receiver.decode(), waiting)

        return find

    def page(
        self, limit: int, before: str, task_id: str, status: str, tenant: str | None
    ) -> Callable[[], DeliveryPage]:
        """Return a function that reads a page, newest first; it may run in any thread.

        `before` is a cursor, `task_id`, `status` and `tenant` filter, if they are set. A page may
        have fewer than `limit` deliveries although others follow.
        """
        family = self._families["meta"].snapshot()

        def read() -> DeliveryPage:
            found: list[Delivery] = []
            begin = _task_row(task_id, "") if task_id else _RECORD
            end = begin + (before.encode() or _END)
            ids = (key[len(begin) :].decode() for key, _ in family.between(begin, end, True))
            read_last = None
            for number, delivery_id in enumerate(ids):
                if len(found) == limit or number == _SCANNED:
                    return DeliveryPage(found, read_last)
                read_last = delivery_id
                stored = _get(family, delivery_id)
                if stored is None:
                    continue
                it = stored.delivery
                if status in ("", it.status) and (tenant is None or is_seen_by(it, tenant)):
                    found.append(it)
            return DeliveryPage(found)

        return read

    def ended(self, before: datetime, keep: int, limit: int) -> Callable[[], tuple[str, ...]]:
        """Return a function that finds the oldest deliveries that have ended, before `before` or
        beyond the newest `keep`: at most `limit` ids. It may run in any thread.

        It reads no more than `keep` and `limit` rows, however many deliveries wait.
        """
        family = self._families["meta"].snapshot()

        def find() -> tuple[str, ...]:
            newest = family.between(_ENDED, _ENDED + _END, True)
            first_kept = next(islice(newest, keep - 1, None), (_ENDED, b""))[0] if keep else _END
            found: list[str] = []
            for key, _ in islice(family.between(_ENDED, _ENDED + _END), limit):
                delivery_id = key[len(_ENDED) :].decode()
                stored = _get(family, delivery_id)
                is_old = stored is None or stored.delivery.created_at < before
                if not is_old and key >= first_kept:
                    break
                found.append(delivery_id)
            return tuple(found)

        return find


def _get(family: Family, delivery_id: str) -> StoredDelivery | None:
    raw = family.get(_record_row(delivery_id))
    return None if raw is None else _decode(raw)


def _is_first(family: Family, stored: StoredDelivery) -> bool:
    """Whether none of the same task waits to be sent to the same URL before it."""
    row = _order_row(stored)
    return next(family.between(row[: row.index(b".")], row), None) is None


def _record_row(delivery_id: str) -> bytes:
    return _RECORD + delivery_id.encode()


def _ended_row(delivery_id: str) -> bytes:
    return _ENDED + delivery_id.encode()


def _waiting_row(stored: StoredDelivery, due: datetime) -> bytes:
    parts = urlsplit(stored.target)
    receiver = _digest(f"{parts.scheme}://{parts.netloc}")
    return _WAITING + f"{receiver}{moment_key(due)}{stored.delivery.id}".encode()


def _order_row(stored: StoredDelivery) -> bytes:
    it = stored.delivery
    return _ORDER + f"{_digest(stored.target)}{it.task_id or '-'}.{it.id}".encode()


def _task_row(task_id: str, delivery_id: str) -> bytes:
    return _OF_TASK + f"{task_id}.{delivery_id}".encode()


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST // 2).hexdigest()


def _moment(key: bytes | None) -> datetime | None:
    return None if key is None else datetime.fromtimestamp(int(key, 16) / 1e6, UTC)
