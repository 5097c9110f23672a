"""`backends`: the model servers."""

from typing import TYPE_CHECKING, Any

import click

from ..terminal import output
from ..terminal.session import open_queue, session_of, shared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...actors.core.model.stats import BackendState

COLUMNS = (
    "NAME", "TYPE", "HEALTH", "RUNNING", "MODELS", "LOADED", "PINNED",
    "CALLS", "FAILURES", "TOKENS/S", "WITHOUT", "ERROR",
)  # fmt: skip


@click.group(invoke_without_command=True)
@shared
@click.pass_context
def backends(ctx: click.Context) -> None:
    """List the model servers and their health.

    PINNED lists the models that the settings keep in memory there (models.NAME.keep);
    absent: the server does not have it.
    WITHOUT lists what the queue leaves out of requests because the server refuses it.

    \b
    Example:
      ollama-queue backends
      ollama-queue backends drain gpu1
      ollama-queue backends load gpu1 qwen3
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


@backends.command()
@click.argument("name")
@click.argument("model")
@click.option("--keep-alive", help="How long it stays after its last use: 10m, seconds, or -1.")
@shared
@click.pass_context
def load(ctx: click.Context, name: str, model: str, keep_alive: str | None) -> None:
    """Load a model into the memory of an Ollama server.

    \b
    Example:
      ollama-queue backends load gpu1 qwen3
      ollama-queue backends load gpu1 qwen3 --keep-alive -1
    """
    _show(ctx, [open_queue(ctx).load_model(name, model, keep_alive=keep_alive)])


@backends.command()
@click.argument("name")
@click.argument("model")
@shared
@click.pass_context
def unload(ctx: click.Context, name: str, model: str) -> None:
    """Remove a model from the memory of an Ollama server.

    \b
    Example:
      ollama-queue backends unload gpu1 qwen3
    """
    _show(ctx, [open_queue(ctx).unload_model(name, model)])


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
        ", ".join(_pinned(backend)) or "-",
        str(backend.calls),
        str(backend.failures),
        rate(backend.tokens_per_s),
        ", ".join(backend.without) or "-",
        backend.error or "",
    )


def _pinned(backend: "BackendState") -> "Iterator[str]":
    from ...actors.core.model.model_names import model_name  # lazy: help needs no msgspec

    models = None if backend.models is None else {*map(model_name, backend.models)}
    for name in backend.pinned:
        is_absent = models is not None and model_name(name) not in models
        yield f"{name} (absent)" if is_absent else name


def rate(per_second: float | None) -> str:
    return "-" if per_second is None else f"{per_second:.1f}"


COMMANDS: tuple[Any, ...] = (backends,)
