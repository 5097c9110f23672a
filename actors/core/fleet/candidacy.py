"""When a server tries to lead, and when it must stop: decided by its own clock alone.

A lead lasts `ttl_s` from before the server asked for it. The database counts from when it answers,
which is later: so nobody else leads before this server has stopped. What it writes after that all
the same (a process can be stopped at any moment) is refused by the fence, not by this clock.
"""

from enum import StrEnum

from msgspec import Struct

BEATS = 5  # in `ttl_s`: four may get lost


class Question(StrEnum):
    """What to ask the database at a beat."""

    KEEP = "keep"  # the lead goes on
    TRY = "try"  # lead, if nobody does
    LOOK = "look"  # who leads


class Lead(Struct, frozen=True):
    """A lead of this server. It ends at `until`, in seconds of its steady clock."""

    epoch: int
    until: float


class Candidacy:
    """One server's part in the election. Times are those of a steady clock, in seconds."""

    def __init__(self, ttl_s: float) -> None:
        self.ttl_s = ttl_s
        self.lead: Lead | None = None
        self.rests_until = 0.0  # it does not try before
        self.has_resigned = False

    @property
    def beat_s(self) -> float:
        """The time between two beats."""
        return self.ttl_s / BEATS

    def question(self, now: float) -> Question:
        if self.lead is not None:
            return Question.KEEP
        if self.has_resigned or now < self.rests_until:
            return Question.LOOK
        return Question.TRY

    def expired(self, now: float) -> Lead | None:
        """The lead that is over because no beat was answered in time; it is dropped."""
        lead = self.lead
        if lead is None or now < lead.until:
            return None
        self.lead = None
        return lead

    def heard(
        self, question: Question, epoch: int | None, asked_at: float, now: float
    ) -> Lead | None:
        """Take in the answer to a question: the epoch in which this server leads, or None.

        Returns the lead that has begun, if one has; one that another server has ended is dropped.
        An answer that comes too late counts as none. A lead that was dropped never goes on: what it
        has sent may still arrive, and only a later epoch is fenced from it.
        """
        until = asked_at + self.ttl_s
        if question is Question.KEEP:
            if self.lead is not None and epoch is None:
                self.lead = None
            elif self.lead is not None and epoch == self.lead.epoch:
                self.lead = Lead(epoch, max(until, self.lead.until))
            return None
        if epoch is None or self.has_resigned or now >= until or self.lead is not None:
            return None
        self.lead = Lead(epoch, until)
        return self.lead

    def rest(self, epoch: int, now: float, seconds: float) -> None:
        """Give up the lead `epoch`, whose store has failed; try again after so many seconds."""
        if self.lead is not None and self.lead.epoch == epoch:
            self.lead = None
            self.rests_until = now + seconds

    def resign(self) -> Lead | None:
        """Lead no more. Returns the lead that this ends."""
        lead, self.lead, self.has_resigned = self.lead, None, True
        return lead

    def due(self, asked_at: float) -> float:
        """When to look at the clock next, if the last question was asked at `asked_at`."""
        beat = asked_at + self.beat_s
        return beat if self.lead is None else min(beat, self.lead.until)
