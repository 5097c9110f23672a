"""An actor that executes its messages."""

from typing import Any

from ollama_queue.actors.base.actor import Actor
from ollama_queue.actors.base.inbox import Promise
from ollama_queue.actors.core.messages import Wake


class Puppet(Actor):
    """Calls each message, which is a function of the actor."""

    def __init__(self, report: Any, wakes: Any = None, on_close: Any = None) -> None:
        super().__init__(report)
        self.wakes, self.at_stop = wakes, on_close
        self.taken: Promise[Any] | None = None

    def handle(self, message: Any) -> Any:
        return self.wakes.put(message) if isinstance(message, Wake) else message(self)

    def on_close(self) -> None:
        if self.at_stop is not None:
            self.at_stop()


def raising(error: BaseException) -> Any:
    def act(_: Actor) -> None:
        raise error

    return act


def hold(puppet: Any) -> None:
    puppet.taken = puppet.later(hold)
