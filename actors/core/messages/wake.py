"""To any actor that armed a timer."""

from msgspec import Struct


class Wake(Struct, frozen=True):
    """The time for which an actor armed its timer has come."""
