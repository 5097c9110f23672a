"""What is asked, and what it is answered with."""

from typing import Generic, TypeVar

from msgspec import Struct

Reply = TypeVar("Reply")


class Command(Struct, Generic[Reply], frozen=True):
    """A message that is asked, and named with its reply: `class Get(Command[Stored], …)`.

    Type checkers hold whoever asks and whoever answers to it. Facts are plain structs: they are
    told. A command may be told too, by an actor that needs no reply.
    """
