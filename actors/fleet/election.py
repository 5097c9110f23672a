"""Takes part in the election: shows that this server lives, and tells System when it leads."""

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import assert_never

from ..base.actor import Actor, Ref, Replied, log, tell
from ..base.cooperation import YieldControl, never_yield
from ..base.inbox import Promise
from ..base.thread_pool import begin_guarded
from ..core.fleet.candidacy import Candidacy, Question
from ..core.fleet.servers import Sight
from ..core.messages import Deposed, Elected, Wake
from ..core.messages.election import (
    Beaten,
    BeatFailed,
    Left,
    Nudged,
    Resign,
    Rest,
    Retreat,
    ShowRefusal,
    ToElection,
)
from ..core.model.errors import QueueError, Unavailable
from ..store.postgres.connections import POOLED, PostgresError
from ..store.postgres.leadership import Leadership, Me, ResignationListener

FIRST_S = 15.0  # how long the first answer of the database may take
LISTENED_S = 1.0
RETRY_S = 0.2  # before a beat that failed is repeated; then doubled
MOST_COMPLAINTS = 3  # in the log, until a beat is answered


class Election(Actor):
    """Owns this server's part in the election. A thread asks the database, so that a slow one does
    not keep it from seeing that a lead has run out."""

    def __init__(
        self,
        report: Callable[[str], None],
        *,
        yield_control: YieldControl = never_yield,
        conninfo: str,
        me: Me,
        ttl_s: float,
        system: Ref,
        prepare: Callable[[], None],
        see: Callable[[Sight], None],
        miss: Callable[[str], None] = lambda error: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`prepare` creates the tables; it raises `Unavailable`. `see` is called with what each
        beat saw, for the doors, and `miss` with the error of one that failed; neither may block."""
        super().__init__(report, yield_control, clock)
        self.candidacy = Candidacy(ttl_s)
        self.system, self.prepare, self.see, self.miss = system, prepare, see, miss
        self.leadership = Leadership(conninfo, me, ttl_s)
        self.conninfo = conninfo
        self.beats: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.asked_at: float | None = None  # the beat that is under way
        self.next_beat = clock()
        self.retry_s = RETRY_S
        self.complaints: set[str] = set()
        self.is_over = threading.Event()
        self.resigning: Promise[bool] | None = None

    def on_start(self) -> None:
        """Raises `Unavailable` if the database cannot be used."""
        self._first_beat()
        begin_guarded(self._beat, "ollama-queue-beats", self._report)
        begin_guarded(self._listen, "ollama-queue-nudges", self._report)
        self.look()

    def _first_beat(self) -> None:
        """Wait until the database answers, as one that starts with this machine soon does."""
        due = self.clock() + FIRST_S
        while True:
            try:
                self.prepare()
                _, sight, refused = self.leadership.beat(Question.LOOK, None)
                if refused:
                    raise PostgresError(refused)
                self.see(sight)
                return
            except (PostgresError, QueueError) as error:
                if is_lasting(str(error)) or self.clock() > due:
                    raise Unavailable(f"queue.storage cannot be used: {error}") from None
            self.is_over.wait(RETRY_S)

    def on_close(self) -> None:
        self.is_over.set()
        self.beats.put(None)

    def handle(self, message: ToElection) -> Replied | None:
        match message:
            case Beaten():
                self.beaten(message)
            case BeatFailed(error):
                self.asked_at = None
                self.next_beat = self.clock() + self.retry_s
                self.retry_s = min(2 * self.retry_s, self.candidacy.beat_s)
                if self.is_news(error):
                    log.warning("queue.storage does not answer: %s", error)
                self.miss(error)
            case Nudged():
                self.next_beat = self.clock()
            case Rest(epoch, seconds):
                self.candidacy.rest(epoch, self.clock(), seconds)
                self.next_beat = self.clock()
            case Retreat():
                self.leadership.offer(0)
                self.next_beat = self.clock()
            case ShowRefusal(refusal):
                self.leadership.refuse(refusal)
                self.next_beat = self.clock()
            case Resign():
                self.resigning = self.later(message)
                self.candidacy.resign()
                self.beats.put(self.leave)
            case Left():
                self.keep(self.resigning, True)
            case Wake():
                pass
            case _:
                assert_never(message)
        self.look()
        return None

    def look(self) -> None:
        """End a lead that has run out; ask the database if it is time."""
        now = self.clock()
        lost = self.candidacy.expired(now)
        if lost is not None:
            why = f"no beat has reached queue.storage for {self.candidacy.ttl_s:g} s"
            tell(self.system, Deposed(lost.epoch, why))
        if self.candidacy.has_resigned:
            return  # what is due stays due: waking for it would leave no time for anything else
        if self.asked_at is None and now >= self.next_beat:
            self.ask(now)
        lead = self.candidacy.lead
        self.wake_at(lead.until if lead is not None and self.asked_at is not None else None)
        if self.asked_at is None:
            self.wake_at(self.next_beat)

    def ask(self, now: float) -> None:
        self.asked_at, self.next_beat = now, now + self.candidacy.beat_s
        question, lead = self.candidacy.question(now), self.candidacy.lead
        epoch, me = None if lead is None else lead.epoch, self.actor_ref

        def beat() -> None:
            try:
                leads, sight, refused = self.leadership.beat(question, epoch)
            except PostgresError as error:
                tell(me, BeatFailed(str(error)))
            else:
                tell(me, Beaten(question, now, leads, sight, refused))

        self.beats.put(beat)

    def beaten(self, message: Beaten) -> None:
        self.asked_at, self.retry_s = None, RETRY_S
        if message.refused:  # a lead goes on until it has run out
            self.see(message.sight)
            if self.is_news(message.refused):
                log.warning("queue.storage refuses a beat: %s", message.refused)
            self.miss(message.refused)
            return
        if self.complaints:
            log.warning("queue.storage answers again")
            self.complaints.clear()
        before = self.candidacy.lead
        begun = self.candidacy.heard(
            message.question, message.epoch, message.asked_at, self.clock()
        )
        self.see(message.sight)
        if begun is not None:
            tell(self.system, Elected(begun.epoch))
        elif before is not None and self.candidacy.lead is None:
            tell(self.system, Deposed(before.epoch, "another server leads"))

    def is_news(self, error: str) -> bool:
        """Whether the log has not said so since the last beat that was taken."""
        is_news = error not in self.complaints and len(self.complaints) < MOST_COMPLAINTS
        if is_news:
            self.complaints.add(error)
        return is_news

    # --- in threads of their own ----------------------------------------------------------------

    def leave(self) -> None:
        with suppress(PostgresError):  # the others notice when the TTL is over
            self.leadership.resign()
        tell(self.actor_ref, Left())

    def _beat(self) -> None:
        while (beat := self.beats.get()) is not None:
            beat()
        self.leadership.close()

    def _listen(self) -> None:
        """Pass on that the leader has resigned: a hint, as whoever misses it sees it at a beat."""
        me = self.actor_ref
        while not self.is_over.is_set():
            with suppress(PostgresError):
                listener = ResignationListener(self.conninfo)
                try:
                    while not self.is_over.is_set():
                        if listener.wait(LISTENED_S):
                            tell(me, Nudged())
                finally:
                    listener.close()
            self.is_over.wait(self.candidacy.beat_s)


def is_lasting(error: str) -> bool:
    """Whether a failed connection will not heal by itself, as far as its text tells."""
    refused = "FATAL:" in error and "database system" not in error and "too many" not in error
    return refused or "have format" in error or error == POOLED
