"""What one server asks another comes out as it went in; what is not known is refused whole."""

from datetime import UTC, datetime
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_queue.actors.core.intake.submission import draft
from ollama_queue.actors.core.messages.leader_proxy import ANSWERED_BY, ForLeader, GetQueueStats
from ollama_queue.actors.core.messages.replies import StoredTask
from ollama_queue.actors.core.messages.scheduler import Cancel, Explain, Pause
from ollama_queue.actors.core.model import errors
from ollama_queue.actors.core.model.errors import QueueError
from ollama_queue.actors.core.model.stats import Waiting
from ollama_queue.actors.core.model.tasks import Status, Submitted, WaitingFor
from ollama_queue.actors.fleet.asks import (
    MOST_TOGETHER,
    decode_batch,
    decode_replies,
    encode_batch,
    encode_command,
    encode_replies,
)
from ollama_queue.actors.supervision.switchboard import Generation
from ollama_queue.http.wire import TooLarge
from tests.support.recorders import a_record, at

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WORD = st.text("abc", min_size=1, max_size=8)
WAITING = st.builds(
    Waiting,
    st.sampled_from(WaitingFor),
    st.none() | st.integers(0, 1000),
    st.none() | st.floats(0, 1e6),
    st.none() | st.builds(at, st.integers(0, 1000)),
)
SUBMITS = st.builds(
    lambda model, prompt, tags, key, listed, deadline: draft(
        {"type": "generate", "model": model, "prompt": prompt, "tags": tags, "deadline": deadline},
        key,
        listed=listed,
    ),
    WORD,
    TEXT,
    st.lists(WORD, max_size=3),
    st.none() | WORD,
    st.booleans(),
    st.none() | st.datetimes(datetime(2027, 1, 1), timezones=st.just(UTC)),
)
SUBMITTED = st.builds(
    Submitted, WORD, st.sampled_from(Status), st.none() | st.integers(0, 2**63), st.booleans()
)
STORED = st.builds(StoredTask, st.builds(a_record, st.integers(0, 99)), st.binary(), st.none())
EXCHANGES = st.one_of(
    st.tuples(SUBMITS, SUBMITTED | STORED),
    st.tuples(st.builds(Cancel, WORD, st.none() | TEXT), st.builds(a_record, st.integers(0, 99))),
    st.tuples(
        st.builds(Explain, st.lists(WORD).map(tuple)), st.dictionaries(WORD, WAITING, max_size=3)
    ),
)
ERRORS = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, QueueError)
]
REFUSALS = st.builds(
    lambda kind, message, field, seconds: kind(message, field=field, retry_after_s=seconds),
    st.sampled_from(ERRORS),
    TEXT,
    st.none() | WORD,
    st.none() | st.floats(0, 100),
)


def facts(reply: Any) -> Any:
    """What a reply is, also if it is an error, which equals only itself."""
    if isinstance(reply, QueueError):
        return type(reply), reply.message, reply.field, reply.retry_after_s
    return reply


@given(exchanges=st.lists(st.tuples(EXCHANGES, st.none() | REFUSALS), max_size=10))
def test_commands_and_replies_come_out_as_they_went_in(
    exchanges: list[tuple[tuple[Any, Any], QueueError | None]],
) -> None:
    commands = [command for (command, _), _ in exchanges]
    replies = [reply if refusal is None else refusal for (_, reply), refusal in exchanges]

    received = decode_batch(encode_batch([encode_command(each) for each in commands]))
    told = decode_replies(encode_replies(replies), commands)

    assert received == commands
    assert [facts(each) for each in told] == [facts(each) for each in replies]


def test_each_command_has_who_answers_it() -> None:
    asked = set(get_args(ForLeader)) - {GetQueueStats}

    assert set(ANSWERED_BY) == asked
    assert set(ANSWERED_BY.values()) <= set(Generation.__struct_fields__)


def test_an_error_of_a_door_is_told_as_what_it_is() -> None:
    (told,) = decode_replies(encode_replies([TooLarge("no", field="body")]), [Cancel("a")])

    assert facts(told) == (errors.Invalid, "no", "body", None)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        encode_batch([encode_command(Pause())]),  # nothing that another server may ask
        encode_batch([encode_command(Cancel("a"))] * (MOST_TOGETHER + 1)),
        encode_batch([msgspec.msgpack.encode({"type": "Cancel"})]),
        encode_batch([msgspec.msgpack.encode({"type": "Cancel", "task_id": 7})]),
        encode_batch([msgspec.msgpack.encode({"type": "Cancel", "task_id": "a", "soon": True})]),
    ],
)
def test_what_is_not_known_is_refused_whole(data: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_batch(data)


def test_a_reply_that_fits_no_command_is_refused() -> None:
    submit = draft({"type": "generate", "model": "m", "prompt": "hi"})

    for replies in ([], [at(0)], [True, True]):
        with pytest.raises(ValueError):
            decode_replies(encode_replies(replies), [submit])
