"""The progress of several servers as that of one: never back, never endless, never early."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ollama_queue.http.dropin.admin_progress import MOST_KINDS, MergedProgress, TooManyKinds

NAMES = ("a", "b", "c")
TOTAL = 10


def layer(completed: int) -> dict[str, object]:
    return {"status": "pulling", "digest": "sha256:x", "total": TOTAL, "completed": completed}


@given(
    some.lists(
        some.tuples(some.sampled_from(NAMES), some.integers(0, 4), some.booleans()), max_size=40
    )
)
def test_a_bar_only_grows_and_is_full_when_all_are(
    steps: list[tuple[str, int, bool]],
) -> None:
    """Each server completes more and more, whatever their order, and however often it is read."""
    progress, done = MergedProgress(NAMES), dict.fromkeys(NAMES, 0)
    read: list[int] = []
    for name, more, reads in steps:
        done[name] = min(done[name] + more, TOTAL)
        progress.take(name, layer(done[name]))
        if reads:
            read += [line["completed"] for line in progress.news()]
    for name in NAMES:
        progress.take(name, layer(TOTAL))
        progress.end(name)
    read += [line["completed"] for line in progress.news()]

    assert read == sorted(read)
    assert read[-1] == TOTAL
    assert progress.news() == []


def test_a_server_that_has_ended_without_a_layer_does_not_hold_its_bar_back() -> None:
    progress = MergedProgress(("a", "b"))
    progress.end("b")
    progress.take("a", layer(7))

    assert progress.news() == [layer(7)]


def test_unread_lines_are_replaced_by_newer_ones() -> None:
    progress = MergedProgress(("a",))
    for completed in range(TOTAL + 1):
        progress.take("a", layer(completed))

    assert progress.news() == [layer(TOTAL)]


def test_kinds_are_bounded() -> None:
    progress = MergedProgress(("a",))
    with pytest.raises(TooManyKinds):
        for number in range(MOST_KINDS + 1):
            progress.take("a", {"status": f"step {number}"})


def test_a_reader_that_waits_is_freed_when_it_leaves() -> None:
    progress = MergedProgress(("a",))
    read: list[object] = []
    reader = threading.Thread(target=lambda: read.append(progress.news()))
    reader.start()
    progress.leave()
    reader.join(10)

    assert read == [[]]
