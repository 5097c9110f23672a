"""Values of options that are times or durations. A time may be written as a duration, too."""

import click

TIME = "TIME|DURATION"


def from_now(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The time, or that after a duration such as `10m`."""
    return _moved(ctx, param, value, 1)


def ago(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The time, or that before a duration such as `1h30m`."""
    return _moved(ctx, param, value, -1)


def seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """The seconds of a duration."""
    from ...actors.core.model.errors import Invalid
    from ...actors.settings.notation import parse_duration

    try:
        return None if value is None else parse_duration(value)
    except Invalid as error:
        raise click.BadParameter(error.message, ctx, param) from None


def _moved(
    ctx: click.Context, param: click.Parameter, value: str | None, direction: int
) -> str | None:
    from datetime import UTC, datetime, timedelta

    from ...actors.core.model.errors import Invalid
    from ...actors.settings.notation import parse_duration

    try:
        if value is None:
            return None
        return (
            datetime.now(UTC) + direction * timedelta(seconds=parse_duration(value))
        ).isoformat()
    except Invalid:
        return value  # the queue checks times
    except OverflowError:
        way = "from now" if direction > 0 else "ago"
        raise click.BadParameter(f"{value} {way} is no time", ctx, param) from None
