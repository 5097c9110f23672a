"""`completion`: shell completion scripts."""

from typing import Any

import click

from ..terminal.session import shared

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_OLLAMA_QUEUE_COMPLETE"  # set by the script when it asks this program; click's form


@click.command()
@click.argument("shell", type=click.Choice(SHELLS), metavar="bash|zsh|fish")
@shared
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a shell completion script.

    \b
    Bash, in ~/.bashrc:  eval "$(ollama-queue completion bash)"
    Zsh, in ~/.zshrc:    eval "$(ollama-queue completion zsh)"
    Fish:                ollama-queue completion fish | source

    \b
    Example:
      ollama-queue completion bash
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "ollama-queue", VARIABLE).source())


COMMANDS: tuple[Any, ...] = (completion,)
