"""What users are told of PostgreSQL's errors: nothing that is nobody's business."""

import pytest

from ollama_queue.actors.core.fleet.refusals import (
    DISK_FULL,
    READ_ONLY,
    REFUSED,
    refusal,
    trouble,
)

BY_ERROR = {
    f"StoreError: fsync: {DISK_FULL} (could not extend file)": "PostgreSQL's disk is full",
    f"OSError: {READ_ONLY}": "the database is read-only",
    f"{REFUSED}: permission denied for table specs": "PostgreSQL refuses what the queue writes",
}


@pytest.mark.parametrize("error", BY_ERROR)
def test_what_is_refused_goes_on_once_it_is_taken(error: str) -> None:
    told = refusal(error)

    assert told is not None
    assert told.startswith(BY_ERROR[error])
    assert "the queue continues when" in told
    assert trouble(error) == told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("PostgreSQL: server closed the connection", "its database does not answer"),
        (
            'PostgreSQL: connection failed: FATAL: password authentication failed for user "q"',
            "its database refuses connections, and the log says why",
        ),
    ],
)
def test_of_a_connection_that_is_gone_nobody_knows_what_was_done(error: str, told: str) -> None:
    assert refusal(error) is None
    assert trouble(error) == told
