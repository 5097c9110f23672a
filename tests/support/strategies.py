"""Strategies for commands to a plan and for outcomes of calls."""

import hypothesis.strategies as st

from ollama_queue.actors.core.model.outcomes import Answered, Failed, Outcome, Stopped, Verdict
from ollama_queue.actors.core.plan.slots import STOP_PATIENCE_S
from tests.support.plans import DAY

priorities = st.sampled_from([1, 5, 10])
backlogs = st.lists(st.tuples(st.sampled_from("abc"), priorities), max_size=8)
# Durations are multiples of 1/8 s: exact as floats and as microseconds.
spans = st.sampled_from([0.0, 0.125, 1.0, 4.0, STOP_PATIENCE_S, 60.0, DAY])
failures = st.builds(
    Failed,
    error=st.sampled_from(["boom", "bang"]),
    # NO_MODEL needs several backends: see test_gone_models.py.
    verdict=st.sampled_from(sorted(set(Verdict) - {Verdict.NO_MODEL})),
    retry_after_s=st.sampled_from([None, None, 2.0, 10_000.0]),
)
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    failures, st.just(Answered(b'{"done":true}')), st.just(Stopped())
)
