"""Merges the progress that several model servers make with one request into one stream."""

from threading import Condition

from ...actors.executors.http_executor import count_in, text_in
from ..wire import Json

MOST_KINDS = 1000  # different lines: a status, or the layer of a model
SUCCESS = "success"


class TooManyKinds(Exception):
    """A server sent more different lines than a model has layers."""


class MergedProgress:
    """Takes each server's lines, and gives out those that a client of one server understands.

    A status is given out once, whoever reports it first. Of a layer that several servers load, the
    one that is furthest behind counts, so that its bar never goes back. Lines that nobody has read
    yet are replaced by newer ones of their kind, so memory stays bounded however slow the reader.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._changed = Condition()
        self._busy = set(names)
        self._news: dict[tuple[str, str], Json] = {}  # by status and digest, in order
        self._seen: set[tuple[str, str]] = set()
        self._layers: dict[str, dict[str, int]] = {}  # bytes completed, by digest and server
        self._names = names

    def take(self, name: str, line: Json) -> None:
        """Take a line of a server. Raises `TooManyKinds`."""
        status, digest = text_in(line, "status"), text_in(line, "digest")
        if status == SUCCESS:
            return  # all must have succeeded
        kind = (status, digest)
        with self._changed:
            if kind not in self._seen:
                if len(self._seen) >= MOST_KINDS:
                    raise TooManyKinds
                self._seen.add(kind)
            elif not digest:
                return
            if digest and "total" in line:
                line = self._behind(name, digest, line)
            self._news[kind] = line
            self._changed.notify_all()

    def _behind(self, name: str, digest: str, line: Json) -> Json:
        """The line with what has been completed by all servers that are still at work."""
        layer = self._layers.setdefault(digest, {})
        layer[name] = count_in(line, "completed")
        waited_for = [each for each in self._names if each in self._busy or each in layer]
        return {**line, "completed": min(layer.get(each, 0) for each in waited_for)}

    def end(self, name: str) -> None:
        """Note that a server has ended, well or badly."""
        with self._changed:
            self._busy.discard(name)
            self._changed.notify_all()

    def leave(self) -> None:
        """End the stream: its reader has left."""
        with self._changed:
            self._busy.clear()
            self._news.clear()
            self._changed.notify_all()

    def news(self) -> list[Json]:
        """Wait for new lines; none once all servers have ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._news or not self._busy)
            news = list(self._news.values())
            self._news.clear()
        return news
