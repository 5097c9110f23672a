"""What all commands share: global options, the connection, errors and exit codes."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from ...actors.core.model.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    QueueError,
    QueueFull,
    Unauthorized,
    Unavailable,
)
from ...actors.core.text.escaping import visible
from ...http.clients import address

if TYPE_CHECKING:
    from ...actors.api.queue_api import QueueAPI
    from ...http.clients.batch_files import BatchFiles

F = TypeVar("F", bound=Callable[..., Any])


class TaskNotCompleted(QueueError):
    """A task whose result was requested has failed or was cancelled."""

    code = "task_failed"


EXIT: dict[type[QueueError], int] = {
    TaskNotCompleted: 1,
    Invalid: 2,
    Unauthorized: 2,
    Forbidden: 2,
    NotFound: 3,
    Conflict: 4,
    QueueFull: 5,
    Unavailable: 6,
    QueueError: 6,  # the server says something that this version does not know
}


def exit_code(error: QueueError) -> int:
    return next(EXIT[kind] for kind in type(error).__mro__ if kind in EXIT)


def complain(message: str) -> None:
    """Print an error on one line of stderr."""
    click.echo(f"Error: {one_line(message)}", err=True)


def one_line(value: object) -> str:
    """The value as one line of text with invisible and control characters escaped."""
    return visible(" ".join(str(value).split()))


def _client(server: str, api_key: str | None = None) -> "AbstractContextManager[QueueAPI]":
    # httpx's own command line, which would load Pygments and more of rich than tables need.
    sys.modules.setdefault("httpx._main", cast(Any, None))
    from ...http import wire
    from ...http.clients.client import Client

    class CommandLineClient(Client):
        _agent = wire.CLI

    return closing(CommandLineClient(server, api_key=api_key))


def _files(server: str, api_key: str | None = None) -> "BatchFiles":
    from ...http.clients.batch_files import BatchFiles

    return BatchFiles(server, api_key=api_key)


class Session:
    """One run of the program: its global options. `connect` opens the queue, `connect_files` the
    files of batches on the server."""

    def __init__(
        self,
        connect: "Callable[..., AbstractContextManager[QueueAPI]]" = _client,
        connect_files: "Callable[..., BatchFiles]" = _files,
    ) -> None:
        self.connect, self.connect_files = connect, connect_files
        self.server = address.usual()
        self.api_key: str | None = None
        self.output = "table"
        self.is_quiet = False

    @property
    def key(self) -> dict[str, str]:
        """The API key as an argument, if it was given as an option."""
        return {} if self.api_key is None else {"api_key": self.api_key}

    @property
    def speaks_json(self) -> bool:
        return self.output == "json"

    @property
    def shows_progress(self) -> bool:
        return sys.stderr.isatty() and not self.is_quiet

    def say(self, text: str) -> None:
        """Print a message on stderr, unless --quiet."""
        if not self.is_quiet:
            click.echo(visible(text), err=True)


def session_of(ctx: click.Context) -> Session:
    return ctx.ensure_object(Session)


def open_queue(ctx: click.Context) -> "QueueAPI":
    """Open the queue; it is closed when the command ends."""
    session = session_of(ctx)
    return ctx.with_resource(session.connect(session.server, **session.key))


def open_files(ctx: click.Context) -> "BatchFiles":
    """Open the files of batches; closed when the command ends."""
    session = session_of(ctx)
    return ctx.with_resource(closing(session.connect_files(session.server, **session.key)))


def shared(command: F) -> F:
    """Add the global options. They may come before and after the command; the last one wins."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _set_server(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        session_of(ctx).server = value


def _set_key(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        session_of(ctx).api_key = value


def _set_output(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        session_of(ctx).output = value


def _set_quiet(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        session_of(ctx).is_quiet = True


_OPTIONS = (
    click.option(
        "--server",
        metavar="URL",
        expose_value=False,
        callback=_set_server,
        help=f"Queue server. [env: {address.VARIABLE}; default: {address.DEFAULT_SERVER}]",
    ),
    click.option(
        "--api-key",
        metavar="KEY",
        expose_value=False,
        callback=_set_key,
        help=f"API key. Others can see options: better set {address.KEY_VARIABLE}.",
    ),
    click.option(
        "--output",
        type=click.Choice(["table", "json"]),
        expose_value=False,
        callback=_set_output,
        help="Table for people (the default), JSON for programs.",
    ),
    click.option(
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=_set_quiet,
        help="Print results and errors only.",
    ),
)


class ErrorTally:
    """Continues with the others when one fails: each error is printed, the first decides the exit
    code."""

    def __init__(self) -> None:
        self.code = 0

    def add(self, error: QueueError) -> None:
        complain(error.message)
        self.code = self.code or exit_code(error)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if isinstance(error, QueueError):
            self.add(error)
            return True
        return False
