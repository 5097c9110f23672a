"""`history`, `usage` and `audit`: what happened, what was used, and who changed what."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ..terminal import output, times
from ..terminal.session import open_queue, session_of, shared

if TYPE_CHECKING:
    from ...actors.core.model.stats import Period, UsageReport

DIMENSIONS = ("model", "backend", "tenant", "tag")


@click.command()
@click.option(
    "--span", type=click.Choice(["1h", "72h", "90d"]), default="1h", show_default=True,
    help="How far back: by minutes, hours or days of UTC.",
)  # fmt: skip
@click.option("--by", type=click.Choice(DIMENSIONS), help="Count each group on its own.")
@click.option("--tenant", help="Only tasks of this tenant.")
@shared
@click.pass_context
def history(ctx: click.Context, span: str, by: str | None, tenant: str | None) -> None:
    """Show what happened in each minute, hour or day.

    WAIT is how long tasks waited for their start, RUN how long the model took, each as the median
    and the 99th percentile.

    \b
    Example:
      ollama-queue history
      ollama-queue history --span 90d --by model
    """
    periods = open_queue(ctx).get_history(span, by=by, tenant=tenant)
    if session_of(ctx).speaks_json:
        output.print_json(periods)
        return
    head = ("SINCE", *([by.upper()] if by else []), "SUBMITTED", "COMPLETED", "FAILED")
    head += ("CANCELLED", "WAIT", "RUN", "TOKENS")
    rows = [_period(each, by) for each in periods if each.submitted or each.started or _ended(each)]
    _print(ctx, head, rows, "Nothing happened.")


def _ended(period: "Period") -> int:
    return period.throughput + period.retried


def _period(period: "Period", by: str | None) -> tuple[str, ...]:
    return (
        f"{period.at:%Y-%m-%d %H:%M}",
        *([period.group or "-"] if by else []),
        str(period.submitted),
        str(period.completed),
        str(period.failed),
        str(period.cancelled),
        _range(period.wait_p50_s, period.wait_p99_s),
        _range(period.run_p50_s, period.run_p99_s),
        str(period.tokens),
    )


def _range(median: float | None, high: float | None) -> str:
    return "-" if median is None or high is None else f"{median:.3g}-{high:.3g} s"


@click.command()
@click.option(
    "--since",
    metavar=times.TIME,
    callback=times.ago,
    help="From this time on; 7d is a week ago. Default: 30 days ago.",
)
@click.option(
    "--until", metavar=times.TIME, callback=times.ago, help="Up to this time. Default: now."
)
@click.option("--by", metavar="NAMES", help="Some of tenant, tag, model, backend, with commas.")
@click.option("--tenant", help="Only tasks of this tenant.")
@shared
@click.pass_context
def usage(ctx: click.Context, /, **filters: Any) -> None:
    """Show how many tasks there were, the tokens they used, and what is left of budgets.

    Budgets are shown to a key that has some, and with --tenant.

    \b
    Example:
      ollama-queue usage --by tenant,model
      ollama-queue usage --since 2026-01-01T00:00:00Z --by tag
    """
    report = open_queue(ctx).get_usage(**filters)
    if session_of(ctx).speaks_json:
        output.print_json(report)
        return
    session_of(ctx).say(f"{report.since:%Y-%m-%d %H:%M} to {report.until:%Y-%m-%d %H:%M} UTC")
    head = (*map(str.upper, report.by), "TASKS", "COMPLETED", "FAILED", "CANCELLED")
    _print(ctx, (*head, "PROMPT", "REPLY"), _usage_rows(report), "Nothing was used.")
    for each in report.budgets:
        until = f"{each.resets_at:%Y-%m-%d %H:%M} UTC"
        session_of(ctx).say(f"{each.name}: {each.left} of {each.limit} left until {until}")


def _usage_rows(report: "UsageReport") -> list[tuple[str, ...]]:
    return [
        (
            *(getattr(row, name) or "-" for name in report.by),
            *map(str, (row.submitted, row.completed, row.failed, row.cancelled)),
            *map(str, (row.prompt_tokens, row.tokens)),
        )
        for row in report.rows
    ]


@click.command()
@click.option("--who", metavar="NAME", help="Only changes made with the API key of this name.")
@click.option("--action", help="Only this action, such as cancel_task, pause, drain_backend.")
@click.option("--target", metavar="ID", help="Only changes of this task, cron, batch or backend.")
@click.option(
    "--since",
    metavar=times.TIME,
    callback=times.ago,
    help="Only changes from this time on; 2h is two hours ago.",
)
@click.option(
    "--until", metavar=times.TIME, callback=times.ago, help="Only changes before this time."
)
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--cursor", metavar="CURSOR", help="Continue where a page ended.")
@shared
@click.pass_context
def audit(ctx: click.Context, /, **filters: Any) -> None:
    """Show who changed what, newest first.

    \b
    Example:
      ollama-queue audit
      ollama-queue audit --action cancel_task --since 2026-01-01T00:00:00Z
    """
    page = open_queue(ctx).list_audit(**filters)
    if session_of(ctx).speaks_json:
        output.print_json(page)
        return
    rows = [
        (
            f"{each.at:%Y-%m-%d %H:%M:%S}",
            each.who,
            " ".join(filter(None, (each.door, each.address))),
            each.action,
            each.target or "-",
            each.detail,
        )
        for each in page.entries
    ]
    _print(ctx, ("AT", "WHO", "FROM", "ACTION", "TARGET", "DETAIL"), rows, "No changes.")
    output.say_more(session_of(ctx), page.cursor)


@click.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--tenant", help="Only tasks of this tenant.")
@shared
@click.pass_context
def failures(ctx: click.Context, limit: int, tenant: str | None) -> None:
    """Show failed tasks grouped by cause, the largest groups first.

    The ID of a group chooses its tasks in list, retry and delete, as --failure ID.

    \b
    Example:
      ollama-queue failures
      ollama-queue failures --limit 5 --output json
    """
    groups = open_queue(ctx).list_failures(limit, tenant=tenant)
    if session_of(ctx).speaks_json:
        output.print_json(groups)
        return
    rows = [
        (
            group.id,
            str(group.count),
            group.code or "-",
            group.backend or "-",
            f"{group.last_at:%Y-%m-%d %H:%M}",
            group.words,
        )
        for group in groups
    ]
    _print(ctx, ("ID", "TASKS", "CODE", "BACKEND", "LAST", "ERROR"), rows, "No failed tasks.")
    if groups:
        session_of(ctx).say("Next: list --failure ID, retry --failure ID, delete --failure ID")


def _print(
    ctx: click.Context, head: Sequence[str], rows: Sequence[tuple[str, ...]], nothing: str
) -> None:
    if rows:
        output.print_plain([tuple(head), *rows])
    else:
        session_of(ctx).say(nothing)


COMMANDS: tuple[Any, ...] = (history, usage, audit, failures)
