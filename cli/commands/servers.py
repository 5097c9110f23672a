"""`servers`: the servers that share the queue."""

from typing import TYPE_CHECKING, Any

import click

from ..terminal import output
from ..terminal.session import open_queue, session_of, shared

if TYPE_CHECKING:
    from ...actors.core.fleet.servers import FleetServer

COLUMNS = ("URL", "ROLE", "SEEN", "CALLS", "VERSION", "SETTINGS")


@click.command()
@shared
@click.pass_context
def servers(ctx: click.Context) -> None:
    """List the servers that share the queue, the one that leads first.

    SEEN says how long ago a server showed that it lives; one that has not within fleet.ttl is
    silent. CALLS are those to model servers: how many it makes, and how many at most. SETTINGS says
    whether its settings are those of the server that leads, as they should be.

    \b
    Example:
      ollama-queue servers
    """
    found = open_queue(ctx).list_servers()
    if session_of(ctx).speaks_json:
        output.print_json(found)
    else:
        output.print_plain([COLUMNS, *map(_row, found)])


def _row(server: "FleetServer") -> tuple[str, ...]:
    return (
        server.url or "-",
        _role(server),
        f"{server.lag_s:.1f} s ago",
        f"{server.calls}/{server.slots}",
        server.version,
        "same" if server.same_settings else "different",
    )


def _role(server: "FleetServer") -> str:
    if server.leads:
        return "leader" if server.read_only is None else "leader, read-only"
    return "silent" if server.silent else "follower"


COMMANDS: tuple[Any, ...] = (servers,)
