"""Supervises all actors: boots them, reboots them after a crash, stops them in order."""

import time
from collections import deque
from typing import assert_never

from ..base.actor import Actor, log, tell
from ..core.config.config import Config
from ..core.messages import Crashed, Shutdown, ToSystem, Wake
from ..core.model.errors import OutcomeUnknown, QueueError, Unavailable
from ..files import free_space
from ..files.data_folder import DataFolder
from .generation import Boot, Runtime
from .switchboard import Switchboard

MAX_REBOOTS = 3
REBOOT_WINDOW_S = 60.0
FIRST_LOOK_S = 1.0  # until it is seen whether a disk is still full; doubled each time
LAST_LOOK_S = 30.0


class System(Actor):
    """Knows which actors are alive, not the queue's state. The only actor that waits for others."""

    def __init__(
        self,
        config: Config,
        runtime: Runtime,
        switchboard: Switchboard,
        *,
        accept_loss: bool = False,
    ) -> None:
        super().__init__(runtime.on_fatal, runtime.yield_control)
        self.config, self.runtime, self.switchboard = config, runtime, switchboard
        self.place = DataFolder(config.queue.storage_path, accept_loss=accept_loss)
        self.folder = str(self.place.folder)
        self.boots = self.generation = 0
        self.reboots: deque[float] = deque(maxlen=MAX_REBOOTS)
        self.is_read_only = False  # while nothing can be written
        self.has_ended = False
        self.next_look_s = FIRST_LOOK_S
        self.up_since = 0.0

    def on_start(self) -> None:
        try:
            self.begin()
        except QueueError:
            self.place.close()
            raise

    def on_close(self) -> None:
        self.place.close()

    def begin(self) -> None:
        """Boot. Raises the `QueueError` of an actor that could not start; nothing has changed."""
        boot, number = self.new_boot()
        try:
            generation = boot.up()
        except QueueError:
            boot.down("stopped")
            raise
        self.boot, self.generation, self.up_since = boot, number, time.monotonic()
        self.switchboard.connect(generation)

    def new_boot(self) -> tuple[Boot, int]:
        self.boots += 1
        number, me = self.boots, self.actor_ref
        report = lambda actor, error: tell(me, Crashed(actor, number, error))  # noqa: E731
        return Boot(self.config, self.runtime, self.place, report), number

    def handle(self, message: ToSystem) -> None:
        match message:
            case Crashed(actor, generation, error):
                if generation == self.generation:
                    self.reboot(actor, error)
            case Shutdown(grace_s):
                self.shut_down(grace_s)
            case Wake():
                self.look_again()
            case _:
                assert_never(message)

    def reboot(self, actor: str, error: str) -> None:
        """Restart from disk, at most 3 times a minute."""
        now = time.monotonic()
        log.error("%s crashed (%s): the queue restarts from disk", actor, error)
        self.switchboard.disconnect(
            OutcomeUnknown("the queue had an internal error and restarts", retry_after_s=1)
        )
        closed = self.boot.down("restarted")
        was_read_only, self.is_read_only = self.is_read_only, False
        gone = self.place.why_gone()
        if gone is not None:
            self.give_up(gone)
        elif not closed:
            self.give_up(f"{actor} crashed ({error}), and the store could not be closed")
        elif free_space.is_full(error) and not was_read_only:
            self.stand_by(free_space.disk_full(self.folder))
        elif len(self.reboots) == MAX_REBOOTS and now - self.reboots[0] < REBOOT_WINDOW_S:
            self.give_up(f"crashed {MAX_REBOOTS + 1} times within a minute, last {actor}: {error}")
        else:
            self.reboots.append(now)
            try:
                self.begin()
            except QueueError as why:
                if free_space.is_full(why.message):
                    self.stand_by(free_space.disk_full(self.folder))
                else:
                    self.give_up(f"{actor} crashed ({error}), and: {why.message}")

    # --- a full disk ----------------------------------------------------------------------------

    def stand_by(self, refusal: Unavailable) -> None:
        """Nothing can be written: serve reads only, and look periodically whether that is over."""
        log.error("%s; until then the queue is read-only", refusal.message)
        if time.monotonic() - self.up_since > REBOOT_WINDOW_S:
            self.next_look_s = FIRST_LOOK_S
        self.boot, self.generation = self.new_boot()
        self.is_read_only = True
        try:
            self.switchboard.connect(self.boot.up_read_only(refusal.message))
        except QueueError as error:
            log.error("cannot serve reads either: %s", error.message)
            self.boot.down("restarted")
            self.switchboard.disconnect(refusal)
        self.look_later()

    def look_later(self) -> None:
        self.due = time.monotonic() + self.next_look_s
        self.next_look_s = min(2 * self.next_look_s, LAST_LOOK_S)
        self.wake_at(self.due)

    def look_again(self) -> None:
        if not self.is_read_only:
            return
        if time.monotonic() < self.due:
            self.wake_at(self.due)
            return
        if self.can_write():
            self.resume()
        if self.is_read_only:
            self.look_later()

    def can_write(self) -> bool:
        return free_space.has_free_space(self.folder)

    def resume(self) -> None:
        on_looker = self.boot
        try:
            self.begin()  # RocksDB allows a writer beside a reader
        except QueueError as why:
            if not free_space.is_full(why.message):
                self.give_up(why.message)
            return
        self.is_read_only = False
        on_looker.down("restarted")
        log.warning("the disk has free space again: the queue resumes")

    def give_up(self, reason: str) -> None:
        self.generation, self.is_read_only = 0, False  # ignore later crashes
        log.critical("the queue gives up: %s", reason)
        self.switchboard.disconnect(Unavailable(f"the queue has stopped: {reason}"))
        self.runtime.on_fatal(reason)

    def shut_down(self, grace_s: float) -> None:
        if self.has_ended:  # the first caller may have left, by a Ctrl-C
            return
        self.has_ended = True
        try:
            self.boot.drain(grace_s)
        except QueueError as error:  # the next boot finishes the work
            log.warning("the queue stops without finishing: %s", error.message)
        self.generation, self.is_read_only = 0, False
        self.switchboard.close()
        if not self.boot.down("shutdown"):
            self.give_up("the store could not be closed: its disk does not answer")
