"""`backends`: the model servers."""

from typing import TYPE_CHECKING, Any

import click

from ..terminal import output
from ..terminal.session import open_queue, session_of, shared

if TYPE_CHECKING:
    from ...actors.core.model.stats import BackendState

COLUMNS = (
    "NAME", "TYPE", "HEALTH", "RUNNING", "MODELS", "LOADED",
    "CALLS", "FAILURES", "TOKENS/S", "WITHOUT", "ERROR",
)  # fmt: skip


@click.group(invoke_without_command=True)
@shared
@click.pass_context
def backends(ctx: click.Context) -> None:
    """List the model servers and their health.

    WITHOUT lists what the queue leaves out of requests because the server refuses it.

    \b
    Example:
      ollama-queue backends
      ollama-queue backends drain gpu1
    """
    if ctx.invoked_subcommand is None:
        _show(ctx, open_queue(ctx).list_backends())


@backends.command()
@click.argument("name")
@shared
@click.pass_context
def drain(ctx: click.Context, name: str) -> None:
    """Stop sending tasks to a model server; running ones finish.

    \b
    Example:
      ollama-queue backends drain gpu1
    """
    _show(ctx, [open_queue(ctx).drain_backend(name)])


@backends.command()
@click.argument("name")
@shared
@click.pass_context
def resume(ctx: click.Context, name: str) -> None:
    """Send tasks to a drained model server again.

    \b
    Example:
      ollama-queue backends resume gpu1
    """
    _show(ctx, [open_queue(ctx).resume_backend(name)])


def _show(ctx: click.Context, backends: "list[BackendState]") -> None:
    if session_of(ctx).speaks_json:
        output.print_json(backends)
    else:
        output.print_plain([COLUMNS, *map(_row, backends)])


def _row(backend: "BackendState") -> tuple[str, ...]:
    models = backend.models
    return (
        backend.name,
        backend.type,
        output.health(backend),
        f"{backend.running}/{backend.parallel}",
        "?" if models is None else str(len(models)),
        ", ".join(backend.loaded) or "-",
        str(backend.calls),
        str(backend.failures),
        rate(backend.tokens_per_s),
        ", ".join(backend.without) or "-",
        backend.error or "",
    )


def rate(per_second: float | None) -> str:
    return "-" if per_second is None else f"{per_second:.1f}"


COMMANDS: tuple[Any, ...] = (backends,)
