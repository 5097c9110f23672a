"""Shared parts of the random requests to drop-in routes."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from hypothesis import strategies as st

from ollama_queue.actors import prober
from tests.http.native.test_native_fuzz import Target

headers = st.fixed_dictionaries(
    {},
    optional={
        "HTTP_X_QUEUE_PRIORITY": st.sampled_from(["low", "15", "0", "\xff", ""]),
        "HTTP_X_QUEUE_TENANT": st.sampled_from(["t", "\xff", ""]),
        "HTTP_X_QUEUE_DETACH": st.sampled_from(["true", "False", "2", "\xff", ""]),
        "HTTP_IDEMPOTENCY_KEY": st.sampled_from(["k", "\xff", "x" * 300]),
    },
)


def eager_target() -> Iterator[Target]:
    """For a fixture: a server that probes its backends as often as requested."""
    least, prober.LEAST_S = prober.LEAST_S, 0.0  # unknown models cause probes
    with tempfile.TemporaryDirectory() as folder:
        made = Target(Path(folder))
        yield made
        made.close()
    prober.LEAST_S = least


def is_no_mistake(status: int, answer: bytes) -> bool:
    """Whether the answer is an intended one, not an internal error."""
    return status < 500 or (status in (502, 503) and b"the server has an error" not in answer)
