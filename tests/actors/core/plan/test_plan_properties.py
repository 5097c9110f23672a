"""Whatever happens to a plan, in whatever order: no task is lost, doubled or passed over."""

import math

from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, run_state_machine_as_test
from msgspec.structs import replace

from ollama_queue.actors.core.model.entry import entry_of
from ollama_queue.actors.core.model.ids import key_digest
from ollama_queue.actors.core.model.stats import Waiting
from ollama_queue.actors.core.model.tasks import Status, WaitingFor
from ollama_queue.actors.core.plan.explain import describe, explain
from tests.support.model_disk import due_of, is_late
from tests.support.plan_machine import KEYS, PlanDriver


class PlanMachine(PlanDriver):
    """What holds after each step."""

    @invariant()
    def slots_add_up(self) -> None:
        slots, gate = self.plan.slots, self.gate
        assert slots.free + len(slots) == self.slots
        assert gate.running == len(self.calls) <= self.parallel
        assert {(r.slot, r.entry.id, r.attempt) for r in slots} == {
            (run.slot, run.task_id, run.attempt) for run in self.calls.values()
        }

    @invariant()
    def no_task_is_lost(self) -> None:
        """Each accepted task is where its status says: waiting, in its slot, or ended."""
        assert self.disk.records.keys() == self.accepted
        pending, running = self.having(Status.PENDING), self.having(Status.RUNNING)
        assert self.plan.entries.keys() == {*pending, *running}
        assert len(self.plan.waiting) == len(pending)
        assert sorted(running) == sorted(
            run.task_id for run in self.calls.values() if not self.disk.has_ended(run.task_id)
        )
        assert self.disk.results.keys() == set(self.having(Status.COMPLETED))

    @invariant()
    def no_slot_idles(self) -> None:
        if self.plan.slots.free and self.gate.is_open(self.heard) and self.drain_by is None:
            assert self.disk.paused or not self.disk.ripe(self.heard)

    @invariant()
    def no_live_task_is_late(self) -> None:
        live = [*self.disk.having(Status.PENDING), *self.disk.having(Status.RUNNING)]
        assert not [record.id for record in live if is_late(record, self.heard)]

    @invariant()
    def the_disk_could_give_all_back(self) -> None:
        assert self.plan.paused == self.disk.paused
        for task_id, entry in self.plan.entries.items():
            stored = entry_of(self.disk.records[task_id])
            if stored.due <= self.heard:
                stored.due = -stored.due if stored.due and not stored.attempt else 0.0
            assert entry == stored

    @invariant()
    def waiting_is_explained(self) -> None:
        healthy = self.gate.healthy and not self.gate.is_resting(self.heard)
        explained = explain(self.plan, self.accepted, self.heard)
        told = {i: replace(w, eta_s=None, next_attempt_at=None) for i, w in explained.items()}
        assert told == {
            record.id: Waiting(
                WaitingFor(self.disk.reason(record, self.heard, healthy)),
                self.disk.position(record.id, self.heard),
            )
            for record in self.disk.having(Status.PENDING)
        }
        state = describe(self.plan, self.heard)
        assert state.waiting_for == self.disk.reasons(self.heard, healthy)
        assert (state.active, state.idle) == (len(self.calls), self.slots - len(self.calls))
        assert self.plan.waiting.bytes == self.disk.waiting_bytes()

    @invariant()
    def it_wakes_in_time(self) -> None:
        dues = list(self.stop_by.values())
        if self.drain_by is None:
            pending = map(due_of, self.disk.having(Status.PENDING))
            dues += [due for due in pending if due > self.heard]
            dues += [self.gate.resting_until] if self.gate.is_resting(self.heard) else []
        elif self.stop_by.keys() != self.calls.keys():
            dues.append(self.drain_by)
        live = [*self.disk.having(Status.PENDING), *self.disk.having(Status.RUNNING)]
        entries = list(map(entry_of, live))
        dues += [entry.expires_at for entry in entries if entry.expires_at is not None]
        starts = [replace(entry, attempt=0).expires_at for entry in entries if entry.start_within]
        self.start_limits.update(limit for limit in starts if limit is not None)
        # A limit of the start stays until it is due: it may wake the plan once too often.
        next_due, least = self.plan.next_due, min(dues, default=math.inf)
        is_kept = next_due is not None and any(
            math.isclose(next_due, limit, rel_tol=0.0, abs_tol=1e-6) for limit in self.start_limits
        )
        assert (next_due or math.inf) == least or (is_kept and next_due < least)

    @invariant()
    def it_drains_when_all_calls_have_ended(self) -> None:
        assert self.plan.is_drained == (self.drain_by is not None and not self.calls)

    @invariant()
    def a_backend_that_is_out_is_watched(self) -> None:
        assert self.gate.healthy or self.is_watched

    @invariant()
    def keys_stand_for_what_the_disk_says(self) -> None:
        for key in (key_digest(None, key) for key in KEYS):
            found = self.plan.keys.find(key, self.heard)
            assert found == self.disk.find(key, self.heard)


def test_a_plan_keeps_its_word_whatever_happens() -> None:
    run_state_machine_as_test(
        PlanMachine,
        settings=settings(
            max_examples=300,
            stateful_step_count=50,
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
