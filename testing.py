"""`InMemoryQueue`, for testing your programs without a disk or model servers."""

from .actors.embedded.in_memory import InMemoryQueue
from .actors.executors.function import ModelCall

__all__ = ["InMemoryQueue", "ModelCall"]
