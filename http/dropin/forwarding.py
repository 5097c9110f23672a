"""Passes one request on to several Ollama servers at once, each in a thread of its own."""

import logging
import threading
from collections.abc import Iterator

from ...actors.base.thread_pool import begin
from ...actors.core.model.errors import Unavailable
from ...actors.core.model.outcomes import Failed, Verdict
from ...actors.embedded.forwarded_call import ForwardedCall, words_of
from ...actors.executors.failures import CallFailed
from .. import wire
from ..wire import Json
from .admin_progress import SUCCESS, MergedProgress, TooManyKinds
from .queue_protocol import DropinQueue

log = logging.getLogger("ollama_queue")


class ForwardedToMany:
    """A request that each of the servers gets; `leave` ends it, from any thread.

    With `reports`, the answers are streams of progress, whose last line is a success. `statuses`
    are those of the servers that succeeded, `failures` are by server, both once all have ended.
    """

    def __init__(
        self, queue: DropinQueue, names: tuple[str, ...], method: str, path: str, *, reports: bool
    ) -> None:
        self._queue, self._reports = queue, reports
        self._progress = MergedProgress(names)
        self.statuses: dict[str, int] = {}
        self.failures: dict[str, Failed] = {}
        self._has_left = False
        self._calls: dict[str, ForwardedCall] = {}
        try:
            for name in names:
                self._calls[name] = queue.forward(name, method, path)
        except BaseException:
            self._dismiss()
            raise

    def begin(self, body: bytes) -> None:
        """Send each server the request. Raises `Unavailable` if there are no threads left."""
        for name, call in self._calls.items():
            args = (name, call, body)
            try:
                begin(threading.Thread(target=self._make, args=args, name="forward", daemon=True))
            except Unavailable:
                self.leave()
                raise

    def send(self, pieces: Iterator[bytes]) -> None:
        """Send each server a long body as it arrives, and read the answers.

        The slowest sets the pace, so that no more than a piece is held. One that fails is left
        out; it is over when no server reads on. Raises what `pieces` raises.
        """
        open_calls = dict(self._calls)
        try:
            for piece in pieces:
                for name, call in tuple(open_calls.items()):
                    try:
                        call.send(piece)
                    except CallFailed as failure:
                        self._fail(name, failure.outcome)
                    if call.is_refused or name in self.failures:
                        del open_calls[name]
                if not open_calls or self._has_left:
                    break
            for name, call in self._calls.items():
                if name not in self.failures:
                    self._finish(name, call)
        finally:
            self._dismiss()

    def lines(self) -> Iterator[Json]:
        """The progress of all, until all have ended."""
        while news := self._progress.news():
            yield from news

    def wait(self) -> None:
        """Wait until all have ended."""
        for _ in self.lines():
            pass

    def leave(self) -> None:
        """End all calls. Does not block."""
        self._has_left = True
        for call in tuple(self._calls.values()):
            call.abort()
        self._progress.leave()

    def check(self) -> None:
        """Raise the failure of the servers that failed, each named. Call it once all have ended."""
        if self._has_left:
            raise wire.TaskFailed("the client has left", wire.CLIENT_GONE)
        if not self.failures:
            return
        said = "; ".join(f"{name}: {words_of(failed)}" for name, failed in self.failures.items())
        if self.statuses:
            said += f" (done on {', '.join(self.statuses)})"
        statuses = {failed.status for failed in self.failures.values()}
        status = statuses.pop() if len(statuses) == 1 else None
        if status in (401, 403, 407) or status is None or status < 400:
            status = 502
        raise wire.TaskFailed(said, status)

    # --- one server -----------------------------------------------------------------------------

    def _make(self, name: str, call: ForwardedCall, body: bytes) -> None:
        """Make the call, in its thread."""
        try:
            call.send(body)
            self._finish(name, call)
        except CallFailed as failure:
            self._fail(name, failure.outcome)
        except Exception:
            log.exception("a request passed on to %s failed", name)
            self._fail(name, Failed("internal error; see the queue's log", Verdict.FINAL))
        finally:
            self._queue.dismiss(call)
            self._progress.end(name)

    def _finish(self, name: str, call: ForwardedCall) -> None:
        try:
            status = call.finish()
            if self._reports:
                self._report(name, call)
        except CallFailed as failure:
            self._fail(name, failure.outcome)
        else:
            self.statuses[name] = status

    def _report(self, name: str, call: ForwardedCall) -> None:
        """Take in the server's progress. Raises `CallFailed`."""
        is_done = False
        try:
            for line in call.progress():
                self._progress.take(name, line)
                is_done = line.get("status") == SUCCESS
        except TooManyKinds:
            raise CallFailed(
                Failed("sent too many different lines of progress", Verdict.FINAL)
            ) from None
        if not is_done:
            raise call.cut_short()

    def _fail(self, name: str, failed: Failed) -> None:
        self.failures[name] = failed

    def _dismiss(self) -> None:
        for call in self._calls.values():
            self._queue.dismiss(call)
