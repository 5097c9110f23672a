"""Writes to a queue in PostgreSQL while none of its servers runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import Event, Thread
from uuid import uuid4

from ollama_queue import __version__

from ..core.fleet.candidacy import Question
from ..core.model.errors import Unavailable
from ..store.postgres.connections import PostgresError
from ..store.postgres.leadership import Leadership, Me
from ..store.postgres.schema import prepare
from ..store.postgres.store import PostgresStore

LONGEST_TTL_S = 60.0  # that `fleet.ttl` may have: one that was killed may have had it
BEAT_S = 0.5  # half the shortest


@contextmanager
def only_writer(conninfo: str) -> Iterator[Callable[[], PostgresStore]]:
    """What opens the store there; no server leads the queue meanwhile.

    Raises `Unavailable` if one does, or PostgreSQL cannot be reached.
    """
    prepare(conninfo)
    leadership = Leadership(conninfo, Me(str(uuid4()), None, 0, __version__, b""), LONGEST_TTL_S)
    try:
        epoch, sight, refused = leadership.beat(Question.TRY, None)
    except PostgresError as error:
        raise Unavailable(str(error)) from None
    if refused:
        raise Unavailable(refused)
    is_over = Event()

    def beat() -> None:
        while not is_over.wait(BEAT_S):
            with suppress(PostgresError):  # the next one, or nothing more is written
                leadership.beat(Question.KEEP, epoch)

    beats = Thread(target=beat, name="beats", daemon=True)
    beats.start()
    try:
        if epoch is None:
            by = sight.leader.url if sight.leader and sight.leader.url else "a server"
            raise Unavailable(
                f"{by} leads the queue, or has been killed within the last minute:"
                " stop its servers, and try again"
            )
        yield partial(PostgresStore, conninfo, epoch)
    finally:
        is_over.set()
        beats.join()
        with suppress(PostgresError):
            leadership.resign()
