"""Commands and the types of their replies."""

from typing import Generic, TypeVar

from msgspec import Struct

Reply = TypeVar("Reply")


class Command(Struct, Generic[Reply], frozen=True):
    """A message that is asked, declared with its reply: `class Get(Command[Stored], …)`.

    Type checkers check both the asking and the answering side. Facts are plain structs: they are
    told. A command may also be told, by an actor that needs no reply.
    """
