"""What is answered while the disk is full: everything still waits, what is late, too."""

from datetime import timedelta
from typing import Any

from ollama_queue.actors.core.messages import Describe, Explain, MeasurePlan
from ollama_queue.actors.core.messages.replies import Recovered
from ollama_queue.actors.core.model.entry import entry_of
from ollama_queue.actors.core.model.tasks import WaitingFor
from ollama_queue.actors.core.routing.gates import Gate
from ollama_queue.actors.read_only_scheduler import ReadOnlyScheduler
from tests.support.plans import plan_of
from tests.support.recorders import START, a_record, task_id


def test_a_late_task_still_waits_since_its_end_cannot_be_saved() -> None:
    past = START - timedelta(hours=1)
    late, timely = a_record(1, deadline=past), a_record(2)
    scheduler = ReadOnlyScheduler(
        lambda text: None,
        plan=plan_of([Gate("ollama", "openai", parallel=1)], slots=0),
        recovered=Recovered([entry_of(late), entry_of(timely)], [], [], {}, 0),
        refusal="the disk is full",
        clock=lambda: START.timestamp() + 10,
    )

    waits: Any = scheduler.handle(Explain((task_id(1), task_id(2))))
    state: Any = scheduler.handle(Describe(None))

    assert [waits[task_id(number)].position for number in (1, 2)] == [0, 1]
    assert {wait.waiting_for for wait in waits.values()} == {WaitingFor.SLOT}
    assert state.waiting_for == {"slot": 2}
    measures: Any = scheduler.handle(MeasurePlan())
    assert measures.state.read_only == state.read_only == "the disk is full"
