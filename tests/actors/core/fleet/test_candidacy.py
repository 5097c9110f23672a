"""When a server leads, by its own clock: never while another may, whatever gets lost or is late."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from ollama_queue.actors.core.fleet.candidacy import Candidacy, Lead, Question

TTL_S = 5.0


def leading(epoch: int = 1, at: float = 0.0) -> Candidacy:
    candidacy = Candidacy(TTL_S)
    candidacy.heard(Question.TRY, epoch, at, at)
    return candidacy


def test_a_server_tries_until_it_leads() -> None:
    candidacy = Candidacy(TTL_S)
    assert candidacy.question(0.0) is Question.TRY
    assert candidacy.heard(Question.TRY, None, 0.0, 0.1) is None
    assert candidacy.heard(Question.TRY, 4, 1.0, 1.1) == Lead(4, 6.0)
    assert candidacy.question(1.2) is Question.KEEP


def test_a_lead_counts_from_before_it_was_asked_for() -> None:
    candidacy = leading(at=1.0)
    candidacy.heard(Question.KEEP, 1, 2.0, 4.0)

    assert candidacy.expired(6.9) is None
    assert candidacy.expired(7.0) == Lead(1, 7.0)
    assert candidacy.lead is None


def test_an_answer_that_comes_after_the_lead_is_over_does_not_revive_it() -> None:
    """What was sent in its epoch may still arrive, after the actors were stopped."""
    candidacy = leading()
    candidacy.expired(5.0)

    assert candidacy.heard(Question.KEEP, 1, 4.9, 5.1) is None
    assert (candidacy.lead, candidacy.question(5.1)) == (None, Question.TRY)


def test_a_lead_that_was_won_too_late_does_not_begin() -> None:
    candidacy = Candidacy(TTL_S)

    assert candidacy.heard(Question.TRY, 1, 0.0, 5.0) is None
    assert candidacy.lead is None


def test_a_lead_that_another_server_has_taken_ends() -> None:
    candidacy = leading()

    assert candidacy.heard(Question.KEEP, None, 1.0, 1.1) is None
    assert candidacy.lead is None


def test_a_failed_store_rests_before_it_tries_again() -> None:
    candidacy = leading(epoch=3)
    candidacy.rest(2, 1.0, 4.0)  # of an earlier lead
    assert candidacy.question(1.0) is Question.KEEP

    candidacy.rest(3, 1.0, 4.0)
    assert (candidacy.question(4.9), candidacy.question(5.0)) == (Question.LOOK, Question.TRY)


def test_who_has_resigned_never_leads_again() -> None:
    candidacy = leading()
    assert candidacy.resign() == Lead(1, 5.0)

    assert candidacy.question(9.0) is Question.LOOK
    assert candidacy.heard(Question.TRY, 2, 9.0, 9.0) is None


@given(asked=st.floats(0, 100), took=st.floats(0, 10))
def test_beats_come_often_enough(asked: float, took: float) -> None:
    candidacy = Candidacy(TTL_S)
    candidacy.heard(Question.TRY, 1, asked, asked + took)

    assert candidacy.beat_s * 4 < TTL_S
    assert (candidacy.lead is not None) is (asked + took < asked + TTL_S)


class Election(RuleBasedStateMachine):
    """Three servers and a database. Answers and servers are as late as they like; clocks agree on
    how long a second is, and on nothing else."""

    servers = Bundle("servers")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.epoch, self.owner, self.seen_at = 0, -1, -TTL_S
        self.all: list[Candidacy] = []
        self.skew: list[float] = []
        self.answers: list[list[tuple[Question, int | None, float]]] = []
        self.begun: list[int] = []

    @initialize(target=servers, skews=st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3))
    def start(self, skews: list[float]) -> int:
        self.all = [Candidacy(TTL_S) for _ in skews]
        self.skew, self.answers = skews, [[] for _ in skews]
        return 0

    def clock(self, server: int) -> float:
        return self.now + self.skew[server]

    @rule(seconds=st.floats(0.01, 4.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(server=st.integers(0, 2), is_lost=st.booleans(), takes=st.floats(0, 6))
    def beat(self, server: int, is_lost: bool, takes: float) -> None:
        """The database carries it out `takes` seconds after the server has asked."""
        candidacy, asked_at = self.all[server], self.clock(server)
        question = candidacy.question(asked_at)
        lead = candidacy.lead
        self.now += takes
        epoch: int | None = None
        if question is Question.KEEP and lead is not None:
            if self.owner == server and self.epoch == lead.epoch:
                epoch, self.seen_at = self.epoch, self.now
        elif question is Question.TRY and (
            self.owner == server or self.seen_at <= self.now - TTL_S
        ):
            self.epoch += 1
            epoch, self.owner, self.seen_at = self.epoch, server, self.now
        if not is_lost:
            self.answers[server].append((question, epoch, asked_at))

    @rule(server=st.integers(0, 2))
    def hear(self, server: int) -> None:
        if self.answers[server]:
            question, epoch, asked_at = self.answers[server].pop(0)
            begun = self.all[server].heard(question, epoch, asked_at, self.clock(server))
            if begun is not None:
                self.begun.append(begun.epoch)

    @rule(server=st.integers(0, 2))
    def look(self, server: int) -> None:
        self.all[server].expired(self.clock(server))

    @rule(server=st.integers(0, 2), seconds=st.floats(0, 3))
    def fail(self, server: int, seconds: float) -> None:
        lead = self.all[server].lead
        if lead is not None:
            self.all[server].rest(lead.epoch, self.clock(server), seconds)

    @invariant()
    def one_leads_at_most(self) -> None:
        """Of those whose lead has not run out by their own clock."""
        leads = [
            candidacy.lead
            for server, candidacy in enumerate(self.all)
            if candidacy.lead is not None and self.clock(server) < candidacy.lead.until - 1e-6
        ]
        assert len(leads) <= 1

    @invariant()
    def no_epoch_begins_twice(self) -> None:
        assert len(self.begun) == len(set(self.begun))


TestElection = Election.TestCase
