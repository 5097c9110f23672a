"""The `cron` commands."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..terminal import output
from ..terminal.session import ErrorTally, open_queue, session_of, shared
from .cron_options import cron_options, fields_of, kind_of, zone

if TYPE_CHECKING:
    from ...actors.core.model.crons import Cron, IfExists

COLUMNS = ("ID", "NAME", "SCHEDULE", "TIMEZONE", "NEXT RUN", "LAST RUN", "RUNS", "MODEL")
_cron_id = click.argument("cron_id", metavar="ID")
_cron_ids = click.argument("cron_ids", metavar="ID...", nargs=-1, required=True)
_schedule = click.option(
    "--schedule", required=True, metavar="CRON", help="Five fields or an alias such as @daily."
)


@click.group()
@shared
def cron() -> None:
    """Submit tasks on a schedule.

    \b
    Example:
      ollama-queue cron add --name Daily --schedule "0 9 * * 1-5" --model qwen3 --prompt "Report"
    """


@cron.command()
@cron_options(is_new=True)
@click.option("--disabled", is_flag=True, help="Add it disabled.")
@click.option(
    "--if-exists",
    type=click.Choice(["update", "keep", "error"]),
    help="If a cron of this name exists: update it, keep it, or fail.",
)
@shared
@click.pass_context
def add(ctx: click.Context, /, disabled: bool, if_exists: "IfExists | None", **given: Any) -> None:
    """Add a cron; prints its id.

    A schedule has the fields minute, hour, day of month, month, day of week (0 or 7 is Sunday).

    \b
    Example:
      ollama-queue cron add --name "Daily Report" --schedule "0 9 * * 1-5" --model qwen3 \\
        --prompt "Generate the daily report" --timezone Europe/Berlin --overlap skip
    """
    if not (given["prompt"] or given["messages"] or given["input"]):
        raise click.UsageError("missing --prompt, --messages or --input", ctx)
    fields = fields_of(given)
    fields["task_template"].setdefault("type", kind_of(given))
    if disabled:
        fields["enabled"] = False
    cron_id = open_queue(ctx).add_cron_task(fields, if_exists=if_exists)
    session = session_of(ctx)
    if session.speaks_json:
        output.print_json({"id": cron_id})
    else:
        click.echo(cron_id)
        added = "" if if_exists else "Added. "  # or found
        session.say(f"{added}See: ollama-queue cron show {cron_id}")


@cron.command("list")
@shared
@click.pass_context
def list_(ctx: click.Context) -> None:
    """List crons, oldest first.

    \b
    Example:
      ollama-queue cron list
    """
    session, crons = session_of(ctx), open_queue(ctx).list_cron_tasks()
    if session.speaks_json:
        output.print_json(crons)
    elif crons:
        output.print_plain([COLUMNS, *map(_row, crons)])
    else:
        session.say("No crons.")


@cron.command()
@_cron_id
@shared
@click.pass_context
def show(ctx: click.Context, cron_id: str) -> None:
    """Show a cron.

    \b
    Example:
      ollama-queue cron show 0199c2a4-7d3e-7b11-8f00-5a2e9d1c4b60
    """
    session, record = session_of(ctx), open_queue(ctx).get_cron_task(cron_id)
    if session.speaks_json:
        output.print_json(record)
    else:
        output.print_facts(_facts(record))


@cron.command()
@_cron_ids
@shared
@click.pass_context
def enable(ctx: click.Context, cron_ids: tuple[str, ...]) -> None:
    """Enable crons.

    \b
    Example:
      ollama-queue cron enable 0199c2a4-7d3e-7b11-8f00-5a2e9d1c4b60
    """
    _each(ctx, cron_ids, open_queue(ctx).enable_cron_task, "enabled")


@cron.command()
@_cron_ids
@shared
@click.pass_context
def disable(ctx: click.Context, cron_ids: tuple[str, ...]) -> None:
    """Disable crons until they are enabled again.

    \b
    Example:
      ollama-queue cron disable 0199c2a4-7d3e-7b11-8f00-5a2e9d1c4b60
    """
    _each(ctx, cron_ids, open_queue(ctx).disable_cron_task, "disabled")


@cron.command()
@_cron_ids
@shared
@click.pass_context
def remove(ctx: click.Context, cron_ids: tuple[str, ...]) -> None:
    """Remove crons; their tasks stay.

    \b
    Example:
      ollama-queue cron remove 0199c2a4-7d3e-7b11-8f00-5a2e9d1c4b60
    """
    _each(ctx, cron_ids, open_queue(ctx).remove_cron_task, "removed")


@cron.command()
@_cron_id
@cron_options(is_new=False)
@shared
@click.pass_context
def update(ctx: click.Context, /, cron_id: str, **given: Any) -> None:
    """Change the given fields only. A new --type needs all fields of its task.

    \b
    Example:
      ollama-queue cron update 0199c2a4-7d3e-7b11-8f00-5a2e9d1c4b60 \\
        --schedule "0 10 * * *" --priority high
    """
    fields = fields_of(given)
    if not fields["task_template"]:
        del fields["task_template"]
    if not fields:
        raise click.UsageError("nothing to change: give at least one option", ctx)
    _each(ctx, (cron_id,), lambda each: open_queue(ctx).update_cron_task(each, fields), "updated")


@cron.command()
@_schedule
@zone
@click.option("--count", type=int, default=5, show_default=True, help="Number of times.")
@shared
@click.pass_context
def test(ctx: click.Context, schedule: str, timezone: str | None, count: int) -> None:
    """Preview the next times of a schedule. Needs no server.

    \b
    Example:
      ollama-queue cron test --schedule "0 9 * * 1-5"
    """
    from datetime import UTC, datetime

    from ...actors.core.intake.cron_schedule import upcoming, zone_of

    name = timezone or "UTC"
    times = list(upcoming(schedule, name, datetime.now(UTC), count))
    if session_of(ctx).speaks_json:
        output.print_json({"next": times})
        return
    for at in times:
        local = at.astimezone(zone_of(name))
        click.echo(f"{local:%a} {local.isoformat(timespec='minutes')}")


@cron.command()
@_cron_id
@shared
@click.pass_context
def run(ctx: click.Context, cron_id: str) -> None:
    """Run a cron once, now.

    \b
    Example:
      ollama-queue cron run 0199c2a4-7d3e-7b11-8f00-5a2e9d1c4b60
    """
    output.print_submitted(session_of(ctx), open_queue(ctx).run_cron_task(cron_id))


def _each(
    ctx: click.Context, cron_ids: tuple[str, ...], verb: Callable[[str], "Cron"], done: str
) -> None:
    tally = ErrorTally()
    with output.RecordPrinter(session_of(ctx), cron_ids) as records:
        for cron_id in cron_ids:
            with tally:
                cron = verb(cron_id)
                records.add(cron, _line(cron, done))
    ctx.exit(tally.code)


def _line(cron: "Cron", done: str) -> str:
    next_run = f"next {output.time_of(cron.next_run)}" if cron.next_run else ""
    cells = (cron.id, done, "" if done == "removed" else next_run)
    return "  ".join(word for word in cells if word)


def _row(cron: "Cron") -> tuple[str, ...]:
    return (
        cron.id,
        cron.name,
        cron.cron_expr,
        cron.timezone,
        output.time_of(cron.next_run) if cron.enabled else "disabled",
        output.time_of(cron.last_run),
        str(cron.run_count),
        cron.task_template.model,
    )


def _facts(cron: "Cron") -> dict[str, Any]:
    import msgspec

    template = cron.task_template
    return {
        "id": cron.id,
        "name": cron.name,
        "schedule": f"{cron.cron_expr} ({cron.timezone})",
        "enabled": "yes" if cron.enabled else "no",
        "next run": output.time_of(cron.next_run),
        "last run": output.time_of(cron.last_run),
        "runs": cron.run_count,
        "overlap": cron.overlap,
        "missed": cron.missed,
        "type": template.type,
        "model": template.model,
        **output.wishes(template),
        "payload": msgspec.json.encode(template.payload).decode(),
        "options": msgspec.json.encode(template.options).decode() if template.options else "",
        "created": output.time_of(cron.created_at),
        "updated": output.time_of(cron.updated_at),
    }
