"""For the tests of your programs: a queue without a disk and without a model server."""

from .actors.embedded.in_memory import InMemoryQueue
from .actors.executors.function import ModelCall

__all__ = ["InMemoryQueue", "ModelCall"]
