"""Idempotency keys, and the task or batch that each belongs to."""

from collections.abc import Container, Iterable, Iterator

from msgspec.structs import replace

from ..model.entry import KeyUse
from ..model.errors import Conflict

KEEP_S = 24 * 3600.0
KEEP_ENDED = 100_000


class IdempotencyKeys:
    """A key is valid for 24 h from acceptance, and as long as its task waits or runs.

    At most the newest 100,000 keys of ended tasks are kept.
    """

    def __init__(self) -> None:
        self._live: dict[bytes, KeyUse] = {}
        self._ended: dict[bytes, KeyUse] = {}  # in the order their tasks ended

    def __len__(self) -> int:
        return len(self._live) + len(self._ended)

    def restore(self, rows: Iterable[tuple[bytes, KeyUse]], live: Container[str]) -> None:
        """Restore keys from disk; `live` are the ids of tasks that wait or run."""
        rest = []
        for key, keyed in rows:
            if keyed.task_id in live:
                self._live[key] = keyed
            else:
                rest.append((key, keyed))
        rest.sort(key=lambda row: row[1].accepted_at)
        self._ended.update(rest)

    def clock_set(self, step: float) -> None:
        """Adjust to a change of the wall clock by `step` seconds: keys keep their time left."""
        for keys in (self._live, self._ended):
            for key, keyed in keys.items():
                keys[key] = replace(keyed, accepted_at=keyed.accepted_at + step)

    def find(self, key: bytes, now: float) -> KeyUse | None:
        """The key's use, or None if unknown or expired."""
        keyed = self._live.get(key)
        if keyed is None:
            keyed = self._ended.get(key)
            if keyed is not None and keyed.accepted_at + KEEP_S <= now:
                return None
        return keyed

    def match(self, key: bytes, body: bytes, now: float) -> str | None:
        """The task that the key belongs to, or None. Raises `Conflict` if its body differs."""
        keyed = self.find(key, now)
        if keyed is not None and keyed.body != body:
            raise Conflict(
                f"this idempotency key was used for another request, {keyed.task_id}",
                field="idempotency_key",
            )
        return None if keyed is None else keyed.task_id

    def add(self, key: bytes, keyed: KeyUse) -> None:
        self._ended.pop(key, None)
        self._live[key] = keyed

    # An expired key may belong to another task by now: a task changes only keys that are its own.

    def end(self, key: bytes, task_id: str) -> None:
        """Note that the key's task has ended."""
        _move(key, task_id, self._live, self._ended)

    def revive(self, key: bytes, task_id: str) -> None:
        """Note that the key's task waits again."""
        _move(key, task_id, self._ended, self._live)

    def drop(self, key: bytes, task_id: str) -> bool:
        """Drop the key of a deleted task; False if the key is not that task's."""
        keyed = self._ended.get(key)
        if keyed is None or keyed.task_id != task_id:
            return False
        del self._ended[key]
        return True

    def expire(self, now: float) -> Iterator[bytes]:
        """Drop and yield expired keys, in the order their tasks ended."""
        while self._ended:
            key = next(iter(self._ended))
            if len(self._ended) <= KEEP_ENDED and self._ended[key].accepted_at + KEEP_S > now:
                return
            del self._ended[key]
            yield key


def _move(key: bytes, task_id: str, here: dict[bytes, KeyUse], there: dict[bytes, KeyUse]) -> None:
    keyed = here.get(key)
    if keyed is not None and keyed.task_id == task_id:
        there[key] = here.pop(key)
