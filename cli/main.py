"""The `ollama-queue` program: its commands, and the one place where errors become exit codes."""

import os
import sys
from typing import Any

import click

from ollama_queue import __version__
from ollama_queue.actors.core.errors import QueueError
from ollama_queue.cli import backends, batch, completion, crons, listing, streaming, tasks, watch
from ollama_queue.cli.session import complain, exit_code, one_line, shared
from ollama_queue.cli.submit import submit
from ollama_queue.cli.waiting import Interrupted

BROKEN_PIPE = 141  # 128 and the signal's number, as shells have it


class Program(click.Group):
    """Runs one command and exits; no command handles an error itself."""

    def main(self, *args: Any, **extra: Any) -> Any:
        extra["standalone_mode"] = False
        try:
            code = super().main(*args, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except click.UsageError as error:
            hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
            complain(error.format_message() + hint)
            code = error.exit_code
        except Interrupted as error:
            click.echo(one_line(error.format_message()), err=True)
            code = error.exit_code
        except click.ClickException as error:
            complain(error.format_message())
            code = error.exit_code
        except QueueError as error:
            complain(error.message)
            code = exit_code(error)
        except click.Abort:
            code = Interrupted.exit_code
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # whoever read the output has left, as head does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(BROKEN_PIPE)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ollama-queue", message="%(prog)s %(version)s")
@shared
def cli() -> None:
    """Put work into an Ollama Queue and see what becomes of it.

    The options below may stand before or after a command. Exit codes: 0 done, 1 the task failed,
    2 wrong usage or refused, 3 not found, 4 not in that state, 5 queue full, 6 no queue answers.

    \b
    Example:
      ollama-queue submit chat --model qwen3 --messages "user:Hello" --wait
      ollama-queue list --status running
    """


cli.add_command(submit)
submit.add_command(batch.batch)
cli.add_command(crons.cron)
for command in (
    listing.list_,
    *tasks.COMMANDS,
    *streaming.COMMANDS,
    *watch.COMMANDS,
    *backends.COMMANDS,
    *completion.COMMANDS,
):
    cli.add_command(command)


def main() -> None:
    """The program's entry."""
    cli.main(prog_name="ollama-queue")


if __name__ == "__main__":
    main()
