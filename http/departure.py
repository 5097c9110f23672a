"""How a server notices that the client has gone while its request is answered."""

import socket
from collections.abc import Callable
from typing import Any

import gevent
from gevent.socket import wait_read

LOOK_S = 0.2  # how often a connection on which something came is looked at for its end
_ESTABLISHED = 1  # Linux's number of the state of a TCP connection that nobody has closed


def watch(connection: Any, leave: Callable[[], None]) -> Callable[[], None]:
    """Have `leave` called once when the client closes `connection`; returns how to stop that.

    Otherwise an answer in which nothing happens would notice it at the next write only. The
    client's next request, or over TLS anything, hides the end that comes behind it: then the
    state of the connection is looked at now and then.
    """

    def look() -> None:
        try:
            wait_read(connection.fileno())
            while is_connected(connection):
                gevent.sleep(LOOK_S)
        except OSError:
            pass
        leave()

    watcher = gevent.spawn(look)
    return lambda: watcher.kill(block=False)


def is_connected(connection: Any) -> bool:
    """The client has not closed its end. Raises `OSError` for a connection that is closed here.

    Asked of the kernel: what TLS says at its end is data to everyone else, and cannot be peeked at.
    """
    info: bytes = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    return info[0] == _ESTABLISHED
