"""What is special about a queue in PostgreSQL, which several servers share."""

from collections.abc import Callable

from msgspec.structs import replace

from ..base.thread_pool import InlinePool, Pool
from ..core.activity.measures import FleetMeasures
from ..core.model.errors import Unavailable
from ..supervision.generation import Runtime
from ..supervision.switchboard import Switchboard


def shared_storage(
    conninfo: str, runtime: Runtime, pools: Callable[[], tuple[Pool, Pool]]
) -> Runtime:
    """The runtime of a queue in PostgreSQL: whatever reads or writes it waits as the program's own
    threads do, in `pools`, since psycopg is made for these.

    Raises `Unavailable` without psycopg.
    """
    try:
        from ..store.postgres.blobs import LatePostgresBlobs
    except ImportError as error:
        raise Unavailable(
            f"queue.storage needs psycopg ({error}): pip install 'ollama-queue[postgres]'"
        ) from None
    blobs = LatePostgresBlobs(conninfo)
    return replace(
        runtime,
        pools=pools,
        check_free_space=lambda folder, size: None,
        open_blobs=lambda folder: blobs,
        file_pool=InlinePool,
    )


def measure_fleet(switchboard: Switchboard) -> FleetMeasures:
    """What a server measures of the others, as of its last look."""
    sight = switchboard.sight
    leader = None if sight is None else sight.leader
    return FleetMeasures(
        leads=switchboard.is_leading,
        epoch=0 if leader is None else leader.epoch,
        takeovers=switchboard.boots,
        servers=0 if sight is None else sum(not each.silent for each in sight.servers),
    )
