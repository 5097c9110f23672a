"""The `ollama-queue` program: its commands, and how errors become exit codes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from ollama_queue import __version__

from ..actors.core.model.errors import QueueError
from ..actors.files import standard_streams
from .commands import (
    backends,
    batch,
    batch_jobs,
    completion,
    crons,
    deliveries,
    keys,
    list_tasks,
    reports,
    servers,
    streaming,
    tasks,
    watch,
)
from .commands.submit import submit
from .terminal.session import complain, exit_code, one_line, shared
from .terminal.waiting import Interrupted

BROKEN_PIPE = 141  # 128 and the signal's number, as shells have it
CANNOT_WRITE = 2


class OutputLost(Exception):
    """The output is closed (as by `head`), or its disk is full."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.exit_code = BROKEN_PIPE if isinstance(error, BrokenPipeError) else CANNOT_WRITE
        if self.exit_code == CANNOT_WRITE:
            with suppress(OSError):
                complain(f"the output cannot be written: {error.strerror}")
        standard_streams.discard()


class Program(click.Group):
    """Runs one command and exits. Commands raise; errors are handled here."""

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            code = self._run(*args, **extra)
        except OutputLost as lost:
            code = lost.exit_code
        except OSError as error:  # of what an error says
            code = OutputLost(error).exit_code
        sys.exit(code if isinstance(code, int) else 0)

    def _run(self, *args: Any, **extra: Any) -> Any:
        """The exit code, or any other value for success."""
        extra["standalone_mode"] = False
        try:
            return super().main(*args, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            return error.exit_code
        except click.UsageError as error:
            hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
            complain(error.format_message() + hint)
            return error.exit_code
        except Interrupted as error:
            click.echo(one_line(error.format_message()), err=True)
            return error.exit_code
        except click.ClickException as error:
            complain(error.format_message())
            return error.exit_code
        except QueueError as error:
            complain(error.message)
            return exit_code(error)
        except (click.Abort, KeyboardInterrupt):
            return Interrupted.exit_code

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _outputs():  # --help and the like print here
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _outputs():
            return super().invoke(ctx)


@contextmanager
def _outputs() -> Iterator[None]:
    """Raise `OutputLost` for system errors, which can only come from writing here."""
    try:
        yield
    except OSError as error:
        raise OutputLost(error) from None
    except SystemExit as end:  # of rich, which takes it upon itself to end the program
        if isinstance(end.__context__, BrokenPipeError):
            raise OutputLost(end.__context__) from None
        raise


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ollama-queue", message="%(prog)s %(version)s")
@shared
def cli() -> None:
    """Submit, inspect and manage tasks.

    The options below may come before or after a command. Exit codes: 0 success, 1 the task failed,
    2 wrong usage or refused, 3 not found, 4 wrong state, 5 queue full, 6 server unreachable,
    130 Ctrl-C.

    \b
    Example:
      ollama-queue submit chat --model qwen3 --messages "user:Hello" --wait
      ollama-queue list --status running
    """


cli.add_command(submit)
submit.add_command(batch.batch)
cli.add_command(batch_jobs.batch)
cli.add_command(crons.cron)
cli.add_command(keys.keys)
for command in (
    list_tasks.list_,
    *tasks.COMMANDS,
    *streaming.COMMANDS,
    *watch.COMMANDS,
    *backends.COMMANDS,
    *servers.COMMANDS,
    *reports.COMMANDS,
    *deliveries.COMMANDS,
    *completion.COMMANDS,
):
    cli.add_command(command)
