"""To whoever armed a timer."""

from msgspec import Struct


class Wake(Struct, frozen=True):
    """The time that an actor asked to be woken at has come."""
