"""The base of all actors, and how doors ask them; alone in knowing pykka's ways.

What pykka leaves open is closed here: mail to a stopped actor is refused instead of lost, any
exception ends just its own actor and is reported once, a failing `on_start` reaches whoever
started the actor, promises of a dead actor are broken, and pykka's global registry is left alone
(a host program that calls `ActorRegistry.stop_all()` stops its own actors, not ours).
"""

import logging
import queue
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import pykka
from msgspec import Struct
from pykka.messages import _ActorStop

from ..core.intake.message_check import check
from ..core.messages import Wake
from ..core.model.errors import OutcomeUnknown, QueueError, Unavailable
from .breathing import Breathe, as_threads_do
from .inbox import Envelope, Errand, Inbox, Promise

log = logging.getLogger("ollama_queue")

Ref = pykka.ActorRef[Any]
LONGEST_NAP_S = 10.0  # wall clocks are set: nobody sleeps longer without looking at it


class SignOfLife(Struct, frozen=True):
    """Answered by every actor that has started well."""


class Actor(pykka.ThreadingActor):
    """Takes one message at a time in `handle`; what that returns is the reply.

    A `QueueError` is an answer, also to what an asker put wrongly. Any other exception ends the
    actor: `report` is called once with a line of text. `on_start` opens what is needed, `on_stop`
    closes it, after a crash too. `clock` is what `wake_at` goes by, in seconds: a steady
    one, unless an actor needs the wall's.

    Between messages it breathes, and in `handle` wherever that takes long: no other message comes
    meanwhile.
    """

    use_daemon_thread = True

    def __init__(
        self,
        report: Callable[[str], None],
        breathe: Breathe = as_threads_do,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._report, self.breathe, self.clock = report, breathe, clock
        self._asker: Promise | None = None
        self._held: set[Promise] = set()
        self._due: float | None = None
        self._epitaph: QueueError = Unavailable("the queue is stopped", retry_after_s=1)

    def handle(self, message: Any) -> Any:
        raise NotImplementedError

    def on_stop(self) -> bool | None:  # type: ignore[override]
        """Close what `on_start` opened; False when it cannot be closed."""

    # --- replies --------------------------------------------------------------------------------

    def later(self) -> Promise | None:
        """Take over the reply to the message in hand; None if it was told, not asked."""
        asker, self._asker = self._asker, None
        if asker is not None:
            self._held.add(asker)
        return asker

    def keep(self, promise: Promise | None, answer: Any) -> None:
        """Give the reply that was taken over by `later`: a value, or a `QueueError`."""
        if promise is None:
            return
        self._held.discard(promise)
        if isinstance(answer, QueueError):
            promise.break_with(answer)
        else:
            promise.set(answer)

    def pass_on(self, ref: Ref, message: Any, promise: Promise | None = None) -> None:
        """Tell `ref` the message; it keeps `promise`, or answers who asked for the one in hand."""
        if promise is None:
            promise, self._asker = self._asker, None
        else:
            self._held.discard(promise)
        _post(ref, message, promise)

    def send_for(self, ref: Ref, message: Any, note: Callable[[Any], Any]) -> None:
        """Ask `ref` without waiting: what it replies, if only a `QueueError`, comes back to this
        actor as the message `note(reply)`."""
        me = self.actor_ref
        _post(ref, message, Errand(lambda reply: _post(me, note(reply))))

    # --- time -----------------------------------------------------------------------------------

    def wake_at(self, due: float | None) -> None:
        """Be told `Wake` at `due` (by `clock`), or earlier; it may come for nothing.

        The actor's own thread keeps the time: a program that ends can start no thread any more.
        """
        if due is not None and (self._due is None or due < self._due):
            self._due = due

    def _next_envelope(self) -> Any:
        inbox: Any = self.actor_inbox  # pykka's type knows only its own
        if self._due is not None:
            nap = min(self._due - self.clock(), LONGEST_NAP_S)
            try:
                if nap > 0:
                    return inbox.get(nap)
            except queue.Empty:
                pass
            return Envelope(Wake())
        return inbox.get()

    # --- pykka's side ---------------------------------------------------------------------------

    @staticmethod
    def _create_actor_inbox() -> Any:
        return Inbox()

    def _actor_loop_setup(self) -> None:
        pykka.ActorRegistry.unregister(self.actor_ref)
        try:
            self.on_start()
        except QueueError as error:
            self._epitaph = error.with_traceback(None)
            self.actor_stopped.set()
        except BaseException as error:
            self._crash(error)

    def _actor_loop_running(self) -> None:
        while not self.actor_stopped.is_set():
            try:
                self._receive(self._next_envelope())
                self.breathe()
            except BaseException as error:  # whatever it is, it ends this actor and no other
                self._crash(error)

    def _receive(self, envelope: Envelope) -> None:
        message = envelope.message
        self._asker = envelope.reply_to
        if isinstance(message, _ActorStop):
            self.actor_stopped.set()
            reply = self.on_stop()
        elif isinstance(message, SignOfLife):
            reply = True
        else:
            if isinstance(message, Wake):
                self._due = None
            try:
                if self._asker is not None:
                    check(message)
                reply = self.handle(message)
            except QueueError as error:
                if self._asker is None:
                    name, told = type(self).__name__, type(message).__name__  # not what is in it
                    log.warning("%s could not %s: %s", name, told, error)
                else:
                    self._asker.break_with(error.again())  # whose frames keep no message
                    self._asker = None
                return
        if self._asker is not None:
            self._asker.set(reply)
            self._asker = None

    def _crash(self, error: BaseException) -> None:
        # As text: a record that kept the traceback would keep what its frames refer to.
        text = "".join(traceback.format_exception(error))
        log.error("%s crashed\n%s", type(self).__name__, text)
        was_stopping = self.actor_stopped.is_set()
        self.actor_stopped.set()
        self._epitaph = OutcomeUnknown(
            "the queue had an internal error and restarts; try again", retry_after_s=1
        )
        try:
            if not was_stopping:
                self.on_stop()
        except BaseException as second:  # the teardown must follow, or whoever asked waits for ever
            log.error("%s could not close after its crash: %s", type(self).__name__, second)
        self._report(f"{type(error).__name__}: {error}")

    def _actor_loop_teardown(self) -> None:
        unread = self.actor_inbox.close(self._epitaph)  # type: ignore[attr-defined]
        for promise in [envelope.reply_to for envelope in unread] + [*self._held, self._asker]:
            if promise is not None:
                promise.break_with(self._epitaph)


def _post(ref: Ref, message: Any, promise: Promise | None = None) -> None:
    inbox: Any = ref.actor_inbox  # pykka's type knows only its own envelopes
    inbox.put(Envelope(message, promise))


def start(actor: type[Actor], *args: Any, timeout: float = 60.0, **kwargs: Any) -> Ref:
    """Start an actor and return once it has started well; raises what its `on_start` raised."""
    ref: Ref = actor.start(*args, **kwargs)
    ask(ref, SignOfLife(), timeout)
    return ref


def ask(ref: Ref, message: Any, timeout: float | None = 30.0) -> Any:
    """Ask from outside, and wait: for doors only, actors never do.

    Raises the `QueueError` that is the answer, or `OutcomeUnknown` after `timeout` seconds.
    """
    promise = Promise()
    _post(ref, message, promise)
    try:
        return promise.get(timeout=timeout)
    except TimeoutError:
        raise _no_answer(timeout) from None


def ask_all(ref: Ref, messages: Iterable[Any], timeout: float = 30.0) -> list[Any]:
    """Ask many things at once, and wait for all: what can share one fsync does.

    The answers come in order; a `QueueError` stands where that is the answer, `OutcomeUnknown`
    where none came within `timeout` seconds.
    """
    promises = []
    for message in messages:
        promises.append(Promise())
        _post(ref, message, promises[-1])
    deadline = time.monotonic() + timeout
    answers: list[Any] = []
    for promise in promises:
        try:
            answers.append(promise.get(max(0.0, deadline - time.monotonic())))
        except TimeoutError:
            answers.append(_no_answer(timeout))
        except QueueError as error:
            answers.append(error.with_traceback(None))
    return answers


def _no_answer(timeout: float | None) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"the queue did not answer within {timeout:g} s; it may have been done", retry_after_s=1
    )


def tell(ref: Ref, message: Any) -> None:
    """Send a message; one to an actor that has stopped goes nowhere."""
    _post(ref, message)


def dismiss(ref: Ref) -> None:
    """Let an actor stop by itself, once it has read its mail."""
    _post(ref, _ActorStop())


def stop(ref: Ref, timeout: float) -> bool:
    """Stop an actor and wait until it has closed; False if it has not, within `timeout` s."""
    promise = Promise()
    _post(ref, _ActorStop(), promise)
    try:
        return promise.get(timeout=timeout) is not False
    except TimeoutError:
        return False
    except QueueError:
        return True  # it has stopped before
