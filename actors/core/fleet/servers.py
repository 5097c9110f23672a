"""The servers of a queue, as they see each other."""

from msgspec import Struct

from ..model.access_keys import AccessKey
from ..model.tasks import PublicRecord


class Leader(Struct, frozen=True):
    """Who leads. `epoch` counts the leads; `url` is where others reach it, None: nowhere.
    `is_here`: it is the server that says so."""

    epoch: int
    server: str
    url: str | None
    is_here: bool = False


class FleetServer(Struct, PublicRecord, frozen=True, kw_only=True):
    """A server of the queue. Of a queue in a folder there is one, which leads.

    `id` is new at each start. `url` is where the other servers reach it, None if they cannot.
    `version` is that of its program. `slots` is how many calls it makes at once at most, `calls`
    how many it makes just now. `lag_s`: how long ago it has shown itself, in seconds. `silent`:
    that is more than `fleet.ttl`, as it is down, stopped, or does not reach PostgreSQL; it is
    listed for three times as long. `read_only`: why it, which leads, changes nothing at the moment,
    in a sentence; None if it does.
    `same_settings`: whether its settings are those of the leader, as far as they concern tasks.
    """

    id: str
    url: str | None
    leads: bool
    version: str
    slots: int
    calls: int
    lag_s: float
    same_settings: bool = True
    silent: bool = False
    read_only: str | None = None


class Sight(Struct, frozen=True):
    """What a server saw when it showed itself: who leads, None if nobody does; all servers that
    were seen of late; and the API keys that are stored. `is_alike`: whether its settings are those
    of the leader, as far as they concern tasks. `at`: what the database's clock showed, in seconds
    since 1970."""

    leader: Leader | None
    servers: list[FleetServer]
    access_keys: tuple[AccessKey, ...] = ()
    is_alike: bool = True
    at: float = 0.0
