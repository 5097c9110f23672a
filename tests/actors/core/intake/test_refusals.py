"""What a backend refuses of a request, as its gate remembers it."""

from ollama_queue.actors.core.model.orders import Order, Run
from ollama_queue.actors.core.model.outcomes import Answered, ProbeResult
from ollama_queue.actors.core.plan.explain import describe
from ollama_queue.actors.core.routing.gates import MOST_REFUSALS, Gate
from tests.support.plans import NOW, REFUSED, asked, plan_of

OPTIONS = frozenset({"stream_options"})
BOTH = frozenset({"stream", "stream_options"})


def told(orders: list[Order]) -> list[frozenset[str]]:
    return [order.without for order in orders if isinstance(order, Run)]


def test_the_next_call_of_the_model_is_told() -> None:
    plan = plan_of([Gate("b", "openai", 1)])
    assert told(plan.submit("a", asked(), NOW)) == [frozenset()]
    plan.submit("b", asked(), NOW)
    plan.submit("c", asked(model="n"), NOW)

    assert told(plan.finished(0, "a", 1, Answered(b"", without=OPTIONS), NOW, 0.5)) == [OPTIONS]
    # What was asked without, since it is known, is still so.
    assert told(plan.finished(0, "b", 1, Answered(b"", without=BOTH), NOW, 0.5)) == [frozenset()]
    plan.finished(0, "c", 1, Answered(b""), NOW, 0.5)

    assert told(plan.submit("d", asked(), NOW)) == [BOTH]
    assert describe(plan, NOW).backends[0].without == ["stream", "stream_options"]


def test_it_is_forgotten_when_it_may_be_another_server() -> None:
    gate = Gate("b", "openai", 1, version="1")
    gate.learn("m", OPTIONS)
    gate.take_probe(ProbeResult(version="1"))
    assert gate.refuses("m") == OPTIONS
    gate.take_probe(ProbeResult(version="2"))
    assert gate.refuses("m") == frozenset()

    gate.learn("m", OPTIONS)
    gate.mark_unhealthy(REFUSED.error)
    gate.take_probe(ProbeResult(version="2"))
    assert gate.refuses("m") == frozenset()


def test_it_remembers_the_newest_models() -> None:
    gate = Gate("b", "openai", 1)
    for number in range(MOST_REFUSALS + 1):
        gate.learn(str(number), OPTIONS)

    assert len(gate.without) == MOST_REFUSALS
    assert gate.refuses("0") == frozenset()
    assert gate.refuses(str(MOST_REFUSALS)) == OPTIONS
