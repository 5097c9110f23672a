"""The spans of time that history is shown over, and the rows that are kept for them."""

from enum import StrEnum


class Resolution(StrEnum):
    """The periods that have rows in the store."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def minutes(self) -> int:
        """How long a period is."""
        return _MINUTES[self]

    @property
    def kept(self) -> int:
        """How many of the newest periods keep their rows."""
        return _KEPT[self]


_MINUTES = {Resolution.MINUTE: 1, Resolution.HOUR: 60, Resolution.DAY: 1440}
# A few more than are shown, as the newest one has just begun.
_KEPT = {Resolution.MINUTE: 63, Resolution.HOUR: 24 * 8, Resolution.DAY: 400}


class Span(StrEnum):
    """How far back history goes: by minutes, hours, or days of UTC."""

    HOUR = "1h"
    DAYS_3 = "72h"
    DAYS_90 = "90d"

    @property
    def resolution(self) -> Resolution:
        return _RESOLUTIONS[self]

    @property
    def periods(self) -> int:
        return _PERIODS[self]


_RESOLUTIONS = {
    Span.HOUR: Resolution.MINUTE,
    Span.DAYS_3: Resolution.HOUR,
    Span.DAYS_90: Resolution.DAY,
}
_PERIODS = {Span.HOUR: 60, Span.DAYS_3: 72, Span.DAYS_90: 90}


class Dimension(StrEnum):
    """What history and usage can be grouped by."""

    MODEL = "model"
    BACKEND = "backend"
    TENANT = "tenant"
    TAG = "tag"
