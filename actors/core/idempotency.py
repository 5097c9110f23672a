"""Which idempotency keys live, and which task each of them stands for."""

from collections.abc import Iterable, Iterator

from msgspec import Struct

KEEP_S = 24 * 3600.0
KEEP_ENDED = 100_000


class Keyed(Struct, frozen=True, gc=False, array_like=True):
    """What a key stands for: a task, the digest of what was asked, and when (seconds)."""

    task_id: str
    body: bytes
    accepted_at: float


class Keys:
    """A key lives 24 h from acceptance and as long as its task waits or runs.

    Of the keys of ended tasks only the newest 100,000 are kept.
    """

    def __init__(self) -> None:
        self._live: dict[bytes, Keyed] = {}
        self._ended: dict[bytes, Keyed] = {}  # in the order in which their tasks ended

    def __len__(self) -> int:
        return len(self._live) + len(self._ended)

    def restore(self, rows: Iterable[tuple[bytes, Keyed]], is_live: Iterable[bytes]) -> None:
        """Take in what lay on disk; `is_live` are the keys of tasks that wait or run."""
        live = set(is_live)
        rest = []
        for key, keyed in rows:
            if key in live:
                self._live[key] = keyed
            else:
                rest.append((key, keyed))
        rest.sort(key=lambda row: row[1].accepted_at)
        self._ended.update(rest)

    def find(self, key: bytes, now: float) -> Keyed | None:
        """What the key stands for, if it still lives."""
        keyed = self._live.get(key)
        if keyed is None:
            keyed = self._ended.get(key)
            if keyed is not None and keyed.accepted_at + KEEP_S <= now:
                return None
        return keyed

    def add(self, key: bytes, keyed: Keyed) -> None:
        self._ended.pop(key, None)
        self._live[key] = keyed

    def end(self, key: bytes) -> None:
        """The key's task has ended."""
        keyed = self._live.pop(key, None)
        if keyed is not None:
            self._ended[key] = keyed

    def revive(self, key: bytes) -> None:
        """The key's task waits again."""
        keyed = self._ended.pop(key, None)
        if keyed is not None:
            self._live[key] = keyed

    def drop(self, key: bytes) -> None:
        """The key's task is no more."""
        self._ended.pop(key, None)

    def expire(self, now: float) -> Iterator[bytes]:
        """Drop and name the keys that have lived long enough, oldest end first."""
        while self._ended:
            key = next(iter(self._ended))
            if len(self._ended) <= KEEP_ENDED and self._ended[key].accepted_at + KEEP_S > now:
                return
            del self._ended[key]
            yield key
