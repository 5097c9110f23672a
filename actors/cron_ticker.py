"""The decider of crons. It lives and dies with the others; crons themselves are yet to come."""

from typing import assert_never

from ollama_queue.actors.actor import Actor
from ollama_queue.actors.core.messages import ToCronTicker, Wake


class CronTicker(Actor):
    """Will turn a cron that is due into a `Submit`."""

    def handle(self, message: ToCronTicker) -> None:
        match message:
            case Wake():
                return
            case _:
                assert_never(message)
