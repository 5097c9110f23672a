"""The base class of all actors, and how code outside asks them. Only this module uses pykka.

It tightens pykka: mail to a stopped actor is refused instead of lost, any exception ends only its
own actor and is reported once, a failing `on_start` is raised to the starter, promises of a dead
actor are broken, and our actors are not in pykka's global registry (a host program that calls
`ActorRegistry.stop_all()` stops its own actors, not ours).
"""

import logging
import queue
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any, NewType

import pykka
from pykka.messages import _ActorStop

from ..core.intake.message_check import check
from ..core.messages import Command, Wake
from ..core.messages.command import Reply
from ..core.model.errors import OutcomeUnknown, QueueError, Unavailable
from .cooperation import YieldControl, never_yield
from .inbox import CallbackPromise, Envelope, Future, Inbox, Promise

log = logging.getLogger("ollama_queue")

Ref = pykka.ActorRef[Any]
LONGEST_NAP_S = 10.0  # between two looks at the clock, as a wall clock can be set


# What `handle` returns: made only by `reply`, which checks that it fits the command.
Replied = NewType("Replied", object)


class Ping(Command[bool], frozen=True):
    """Answered with True by every actor that has started."""


INTERNAL_ERROR = "the queue had an internal error and restarts; try again"


class StoreError(OSError):
    """Ends an actor: its data could not be written. `told` is for those who wait for answers."""

    def __init__(self, error: str, told: str) -> None:
        super().__init__(error)
        self.told = told


class Actor(pykka.ThreadingActor):
    """Takes one message at a time in `handle`; what that returns (by `reply`) is the reply.

    A `QueueError` is an answer, also to a malformed command. Any other exception ends the actor:
    `report` is called once with a line of text. `on_start` opens resources, `on_close` closes them,
    after a crash too. `clock` is the clock of `wake_at`, in seconds: a monotonic one, unless an
    actor needs the wall clock.

    It yields between messages, and in `handle` where that takes long; no other message is handled
    meanwhile.
    """

    use_daemon_thread = True

    def __init__(
        self,
        report: Callable[[str], None],
        yield_control: YieldControl = never_yield,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._report, self.yield_control, self.clock = report, yield_control, clock
        mail: Any = self.actor_inbox  # pykka's type knows only its own envelopes
        self._mail: Inbox = mail
        self._asker: Promise[Any] | None = None
        self._held: set[Promise[Any]] = set()
        self._due: float | None = None
        self._epitaph: QueueError = Unavailable("the queue is stopped", retry_after_s=1)

    def handle(self, message: Any) -> object:
        raise NotImplementedError

    def on_close(self) -> bool | None:
        """Close what `on_start` opened; False if it cannot be closed."""

    # --- replies --------------------------------------------------------------------------------

    def later(self, command: Command[Reply]) -> Promise[Reply] | None:
        """Defer the reply to `command`, the current message; None if it was told, not asked."""
        asker, self._asker = self._asker, None
        if asker is not None:
            self._held.add(asker)
        return asker

    def keep(self, promise: Promise[Reply] | None, answer: Reply | QueueError) -> None:
        """Give the reply deferred by `later`: a value, or a `QueueError`."""
        if promise is None:
            return
        self._held.discard(promise)
        if isinstance(answer, QueueError):
            promise.break_with(answer)
        else:
            promise.set(answer)

    def pass_on(self, ref: Ref, command: Command[Reply], promise: Promise[Reply] | None) -> None:
        """Send `command` to `ref`, whose reply keeps the `promise` deferred by `later`."""
        if promise is not None:
            self._held.discard(promise)
        _post(ref, command, promise)

    def send_for(
        self, ref: Ref, command: Command[Reply], note: Callable[[Reply | QueueError], object]
    ) -> None:
        """Ask `ref` without waiting: its reply, which may be a `QueueError`, comes back to this
        actor as the message `note(reply)`."""
        me = self.actor_ref
        _post(ref, command, CallbackPromise(lambda reply: _post(me, note(reply))))

    # --- time -----------------------------------------------------------------------------------

    def wake_at(self, due: float | None) -> None:
        """Receive `Wake` at `due` (by `clock`) or earlier; there may be spurious ones.

        The actor's own thread keeps the time: an exiting program cannot start threads.
        """
        if due is not None and (self._due is None or due < self._due):
            self._due = due

    def _next_envelope(self) -> Envelope:
        if self._due is not None:
            nap = min(self._due - self.clock(), LONGEST_NAP_S)
            try:
                if nap > 0:
                    return self._mail.get(nap)
            except queue.Empty:
                pass
            return Envelope(Wake())
        return self._mail.get()

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
        is_stopped = self.actor_stopped.is_set
        while not is_stopped():
            try:
                self._receive(self._next_envelope())
                self.yield_control()
            except BaseException as error:  # any exception ends this actor only
                self._crash(error)

    def _receive(self, envelope: Envelope) -> None:
        message = envelope.message
        self._asker = envelope.reply_to
        kind = type(message)
        if kind is _ActorStop:
            self.actor_stopped.set()
            value: object = self.on_close()
        elif kind is Ping:
            value = True
        else:
            if kind is Wake:
                self._due = None
            try:
                if self._asker is not None:
                    check(message)
                value = self.handle(message)
            except QueueError as error:
                if self._asker is None:
                    # Not the message's contents.
                    log.warning("%s could not %s: %s", type(self).__name__, kind.__name__, error)
                else:
                    self._asker.break_with(error.again())  # a copy: frames keep messages
                    self._asker = None
                return
        if self._asker is not None:
            self._asker.set(value)
            self._asker = None

    def _crash(self, error: BaseException) -> None:
        # As text: a log record with the traceback would keep what its frames refer to. So would a
        # cycle of errors, and RocksDB cannot be reopened while anything refers to a part of it.
        text = "".join(traceback.format_exception(error))
        traceback.clear_frames(error.__traceback__)
        if not isinstance(error, StoreError):  # of which System says all
            log.error("%s crashed\n%s", type(self).__name__, text)
        was_stopping = self.actor_stopped.is_set()
        self.actor_stopped.set()
        told = error.told if isinstance(error, StoreError) else INTERNAL_ERROR
        self._epitaph = OutcomeUnknown(told, retry_after_s=1)
        try:
            if not was_stopping:
                self.on_close()
        except BaseException as second:  # the teardown must follow, or askers wait forever
            log.error("%s could not close after its crash: %s", type(self).__name__, str(second))
        self._report(f"{type(error).__name__}: {error}")

    def _actor_loop_teardown(self) -> None:
        unread = self._mail.close(self._epitaph)
        for promise in [envelope.reply_to for envelope in unread] + [*self._held, self._asker]:
            if promise is not None:
                promise.break_with(self._epitaph)


def reply(command: Command[Reply], value: Reply) -> Replied:
    """Return `value` as the reply to `command`, so that type checkers verify its type."""
    return Replied(value)


def _post(ref: Ref, message: object, promise: Promise[Any] | None = None) -> None:
    inbox: Any = ref.actor_inbox  # pykka's type knows only its own envelopes
    inbox.put(Envelope(message, promise))


def start(actor: type[Actor], *args: Any, timeout: float = 60.0, **kwargs: Any) -> Ref:
    """Start an actor and wait until it has started; raises what its `on_start` raised."""
    ref: Ref = actor.start(*args, **kwargs)
    ask(ref, Ping(), timeout)
    return ref


def ask(ref: Ref, command: Command[Reply], timeout: float | None = 30.0) -> Reply:
    """Ask and wait for the reply. For code outside the actors only: actors never wait.

    Raises `QueueError` if that is the answer, or `OutcomeUnknown` after `timeout` seconds.
    """
    future: Future[Reply] = Future()
    _post(ref, command, future)
    try:
        return future.get(timeout=timeout)
    except TimeoutError:
        raise _no_answer(timeout) from None


def ask_into(ref: Ref, command: Command[Reply], take: Callable[[Reply | QueueError], None]) -> None:
    """Ask without waiting: `take`, which must not block, is called with the reply or its error.

    It runs in the thread of the actor that answers.
    """
    _post(ref, command, CallbackPromise(take))


def ask_all(
    ref: Ref, commands: Iterable[Command[Reply]], timeout: float = 30.0
) -> list[Reply | QueueError]:
    """As `ask_each`, of one actor."""
    return ask_each(((ref, command) for command in commands), timeout)


def ask_each(
    commands: Iterable[tuple[Ref, Command[Reply]]], timeout: float = 30.0
) -> list[Reply | QueueError]:
    """Send many commands at once and wait for all replies, so that they can share an fsync.

    The answers are in order; each can be a `QueueError`, or `OutcomeUnknown` if none came within
    `timeout` seconds.
    """
    futures: list[Future[Reply]] = []
    for ref, command in commands:
        futures.append(Future())
        _post(ref, command, futures[-1])
    deadline = time.monotonic() + timeout
    answers: list[Reply | QueueError] = []
    for future in futures:
        try:
            answers.append(future.get(max(0.0, deadline - time.monotonic())))
        except TimeoutError:
            answers.append(_no_answer(timeout))
        except QueueError as error:
            answers.append(error.with_traceback(None))
    return answers


def _no_answer(timeout: float | None) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"the queue did not answer within {timeout:g} s; it may have been done", retry_after_s=1
    )


def tell(ref: Ref, message: object) -> None:
    """Send a message; dropped if the actor has stopped."""
    _post(ref, message)


def waiting_mail(ref: Ref) -> int:
    """About how many messages an actor has not read yet."""
    inbox: Any = ref.actor_inbox
    size: int = inbox.size()
    return size


def dismiss(ref: Ref) -> None:
    """Stop an actor once it has read its mail, without waiting."""
    _post(ref, _ActorStop())


def stop(ref: Ref, timeout: float) -> bool:
    """Stop an actor and wait until it has closed; False if it has not, within `timeout` s."""
    future: Future[bool | None] = Future()
    _post(ref, _ActorStop(), future)
    try:
        return future.get(timeout=timeout) is not False
    except TimeoutError:
        return False
    except QueueError:
        return True  # already stopped
