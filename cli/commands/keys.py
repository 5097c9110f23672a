"""`keys`: who may use the server."""

from typing import TYPE_CHECKING, Any

import click

from ..terminal import output, times
from ..terminal.session import open_queue, session_of, shared

if TYPE_CHECKING:
    from ...actors.core.model.access_keys import KeyCreated, KeyInfo

COLUMNS = ("NAME", "ROLE", "TENANT", "KEY", "LIMITS", "LEFT", "EXPIRES", "FROM")
_LIMITS = (
    *("models", "backends", "max_priority", "max_running", "max_waiting", "rate"),
    *("requests_per_day", "requests_per_month", "tokens_per_day", "tokens_per_month"),
)


@click.group()
@shared
def keys() -> None:
    """Manage API keys. Only an admin's key may, or this machine while there are none.

    \b
    Example:
      ollama-queue keys add alice
    """


@keys.command("add")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["reader", "user", "admin"]),
    default="user",
    show_default=True,
    help="What it is for.",
)
@click.option("--tenant", help="Whose tasks it sees and touches. A user's default: the name.")
@click.option("--model", "models", multiple=True, help="Pattern of models (qwen3*). Repeatable.")
@click.option("--backend", "backends", multiple=True, help="Pattern of backends. Repeatable.")
@click.option("--max-priority", help="Highest priority of its tasks: a name, or 1 to 15.")
@click.option("--max-running", type=int, help="Tasks of the tenant that may run at once.")
@click.option("--max-waiting", type=int, help="Tasks of the tenant that may wait.")
@click.option("--rate", help="Requests per second, minute or hour: 10/s, 100/m, 1000/h.")
@click.option("--requests-per-day", type=int, help="Tasks of the tenant on a day of UTC.")
@click.option("--requests-per-month", type=int, help="Tasks of the tenant in a month.")
@click.option("--tokens-per-day", type=int, help="Tokens of the tenant on a day of UTC.")
@click.option("--tokens-per-month", type=int, help="Tokens of the tenant in a month.")
@click.option(
    "--expires-at",
    metavar=times.TIME,
    callback=times.from_now,
    help="When it ends, such as 2027-01-01T00:00:00Z, or 90d from now.",
)
@shared
@click.pass_context
def add(ctx: click.Context, /, name: str, **rules: Any) -> None:
    """Add a key, and print it: it cannot be shown again.

    \b
    Example:
      ollama-queue keys add ops --role admin
      ollama-queue keys add alice --max-running 2 --rate 10/s
    """
    given: dict[str, Any] = {"name": name}
    for field, value in rules.items():
        if value not in (None, ()):
            given[field] = list(value) if isinstance(value, tuple) else value
    _print_key(ctx, open_queue(ctx).add_key(given))


@keys.command("list")
@shared
@click.pass_context
def list_(ctx: click.Context) -> None:
    """List the keys: what each allows, what is left of its budgets, and how it begins.

    \b
    Example:
      ollama-queue keys list
    """
    infos = open_queue(ctx).list_keys()
    if session_of(ctx).speaks_json:
        output.print_json(infos)
    else:
        output.print_plain([COLUMNS, *map(_row, infos)])


@keys.command()
@click.argument("name")
@shared
@click.pass_context
def rotate(ctx: click.Context, name: str) -> None:
    """Replace a key, and print the new one; the old one ends at once.

    \b
    Example:
      ollama-queue keys rotate alice
    """
    _print_key(ctx, open_queue(ctx).rotate_key(name))


@keys.command()
@click.argument("name")
@shared
@click.pass_context
def revoke(ctx: click.Context, name: str) -> None:
    """Delete a key; its streams end at once, its tasks and crons stay.

    \b
    Example:
      ollama-queue keys revoke alice
    """
    info = open_queue(ctx).revoke_key(name)
    if session_of(ctx).speaks_json:
        output.print_json(info)
    else:
        session_of(ctx).say(f"Revoked {info.name}")


def _print_key(ctx: click.Context, created: "KeyCreated") -> None:
    if session_of(ctx).speaks_json:
        output.print_json(created)
        return
    session_of(ctx).say(f"The key of {created.name}, shown only now:")
    click.echo(created.key)


def _row(info: "KeyInfo") -> tuple[str, ...]:
    limits = " ".join(
        f"{name}={','.join(value) if isinstance(value, list) else value}"
        for name in _LIMITS
        if (value := getattr(info, name))
    )
    tenant = info.tenant or (info.name if info.role == "user" else "")
    left = " ".join(f"{each.name}={each.left}" for each in info.budgets)
    expires = "" if info.expires_at is None else f"{info.expires_at:%Y-%m-%d %H:%M}Z"
    return (info.name, info.role, tenant, info.hint, limits, left, expires, info.source)
