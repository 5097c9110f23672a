"""The commands that show and change tasks."""

from typing import Any

import click

from ..terminal import output, times
from ..terminal.bulk_choice import BulkSelection, choosing, rehearse, sweep
from ..terminal.session import ErrorTally, open_queue, session_of, shared
from ..terminal.waiting import endings

_task_id = click.argument("task_id", metavar="ID")
_task_ids = click.argument("task_ids", metavar="ID...", nargs=-1, required=True)
_perhaps_ids = click.argument("task_ids", metavar="[ID...]", nargs=-1)


@click.command()
@click.argument("task_id", metavar="[ID]", required=False)
@shared
@click.pass_context
def status(ctx: click.Context, task_id: str | None) -> None:
    """Show a task, or without ID the queue.

    \b
    Example:
      ollama-queue status 0199c2a4-7d3e-7b11-8f00-5a2e9d1c4b60
    """
    queue = open_queue(ctx)
    if task_id is None:
        output.print_stats(session_of(ctx), queue.get_queue_stats())
    else:
        output.print_task(session_of(ctx), queue.get_task(task_id))


@click.command()
@_task_id
@shared
@click.pass_context
def result(ctx: click.Context, task_id: str) -> None:
    """Print a task's reply.

    With --output json, the whole reply. Fails if the task has not ended; see wait.

    \b
    Example:
      ollama-queue result 0199c2a4-7d3e-7b11-8f00-5a2e9d1c4b60
    """
    task = open_queue(ctx).get_task(task_id)
    output.check_ended(task)
    output.check_completed(task)
    if session_of(ctx).speaks_json:
        output.print_json(task.result)
    else:
        output.print_answer(task)


@click.command()
@_perhaps_ids
@choosing
@shared
@click.pass_context
def cancel(ctx: click.Context, /, task_ids: tuple[str, ...], **given: Any) -> None:
    """Cancel waiting or running tasks.

    Name tasks by id, or select them by options: values of one option are ORed, different options
    are ANDed. A selection is counted and must be confirmed; scripts need --yes.

    \b
    Example:
      ollama-queue cancel 0199c2a4-7d3e-7b11-8f00-5a2e9d1c4b60
      ollama-queue cancel --model qwen3 --tag nightly --dry-run
    """
    _to_all(ctx, BulkSelection(task_ids, given), "cancel", "cancelled")


@click.command()
@_perhaps_ids
@choosing
@shared
@click.pass_context
def retry(ctx: click.Context, /, task_ids: tuple[str, ...], **given: Any) -> None:
    """Retry failed or cancelled tasks.

    Name tasks by id, or select them by options: values of one option are ORed, different options
    are ANDed. A selection is counted and must be confirmed; scripts need --yes.

    \b
    Example:
      ollama-queue retry 0199c2a4-7d3e-7b11-8f00-5a2e9d1c4b60
      ollama-queue retry --status failed --since 2026-12-24T00:00:00Z --yes
    """
    _to_all(ctx, BulkSelection(task_ids, given), "retry", "queued again")


@click.command()
@_perhaps_ids
@choosing
@shared
@click.pass_context
def delete(ctx: click.Context, /, task_ids: tuple[str, ...], **given: Any) -> None:
    """Delete finished tasks and their results.

    Name tasks by id, or select them by options: values of one option are ORed, different options
    are ANDed. A selection is counted and must be confirmed; scripts need --yes.

    \b
    Example:
      ollama-queue delete 0199c2a4-7d3e-7b11-8f00-5a2e9d1c4b60
      ollama-queue delete --all --yes
    """
    _to_all(ctx, BulkSelection(task_ids, given), "delete", "deleted")


def _to_all(ctx: click.Context, chosen: BulkSelection, verb: str, done: str) -> None:
    """Apply the verb to the named tasks, or to those that options select.

    Each error is reported; the first decides the exit code.
    """
    if not chosen.ids:
        sweep(ctx, chosen, verb, done)
    elif chosen.is_dry:
        rehearse(ctx, chosen, verb)
    else:
        _to_each(ctx, chosen, verb)


def _to_each(ctx: click.Context, chosen: BulkSelection, verb: str) -> None:
    queue, tally = open_queue(ctx), ErrorTally()
    verbs = {
        "cancel": queue.cancel_task,
        "retry": queue.retry_task,
        "delete": queue.delete_task,
    }
    with output.RecordPrinter(session_of(ctx), chosen.ids) as records:
        for task_id in chosen.ids:
            with tally:
                task = verbs[verb](task_id)
                records.add(task, output.task_line(task))
    ctx.exit(tally.code)


@click.command()
@click.argument("arguments", metavar="[ID] PRIORITY", nargs=-1, required=True)
@choosing
@shared
@click.pass_context
def priority(ctx: click.Context, /, arguments: tuple[str, ...], **given: Any) -> None:
    """Change the priority of a task, or of all that options select.

    PRIORITY is low, normal, high, critical, or 1 to 15; higher runs sooner. A selection
    by options is counted and must be confirmed; scripts need --yes.

    \b
    Example:
      ollama-queue priority 0199c2a4-7d3e-7b11-8f00-5a2e9d1c4b60 high
      ollama-queue priority low --batch 0199c2a4-7d3e-7b11-8f00-5a2e9d1c4b60
    """
    *ids, level = arguments
    selection = BulkSelection(ids, given)
    if len(ids) > 1:
        raise click.UsageError("name one ID and one PRIORITY")
    if not ids:
        sweep(ctx, selection, "priority", f"with priority {level}", level)
    elif selection.is_dry:
        rehearse(ctx, selection, "priority", level)
    else:
        task = open_queue(ctx).update_task_priority(ids[0], level)
        output.print_line(session_of(ctx), task, f"priority {task.priority}")


@click.command()
@_task_ids
@click.option(
    "--timeout", metavar="DURATION", callback=times.seconds, help="Longest wait, e.g. 90s or 10m."
)
@shared
@click.pass_context
def wait(ctx: click.Context, task_ids: tuple[str, ...], timeout: float | None) -> None:
    """Wait for tasks to end and print each as it finishes; with --output json, all at the end.

    \b
    Example:
      ollama-queue wait 0199c2a4-7d3e-7b11-8f00-5a2e9d1c4b60 --timeout 60
    """
    session, tally = session_of(ctx), ErrorTally()
    with output.RecordPrinter(session, task_ids) as records:
        for ending in endings(session, open_queue(ctx), task_ids, timeout):
            with tally:
                if isinstance(ending, Exception):
                    raise ending
                records.add(ending, output.task_line(ending))
                output.check_completed(ending)
    ctx.exit(tally.code)


@click.command()
@shared
@click.pass_context
def pause(ctx: click.Context) -> None:
    """Start no new tasks; running ones finish. Survives a restart; ends with resume.

    \b
    Example:
      ollama-queue pause
    """
    open_queue(ctx).pause()
    _say_paused(ctx, True, "Paused: what runs goes on, the rest waits for ollama-queue resume.")


@click.command()
@shared
@click.pass_context
def resume(ctx: click.Context) -> None:
    """Resume after a pause.

    \b
    Example:
      ollama-queue resume
    """
    open_queue(ctx).resume()
    _say_paused(ctx, False, "Resumed.")


def _say_paused(ctx: click.Context, is_paused: bool, text: str) -> None:
    session = session_of(ctx)
    if session.speaks_json:
        output.print_json({"paused": is_paused})
    else:
        session.say(text)


COMMANDS: tuple[Any, ...] = (
    status,
    result,
    cancel,
    retry,
    delete,
    priority,
    wait,
    pause,
    resume,
)
