"""Mistakes of the protocol that mypy finds: one on each line that says so. It is never run."""

from ollama_queue.actors.base.actor import Actor, Ref, Replied, ask, ask_all, reply
from ollama_queue.actors.base.inbox import Future, Promise
from ollama_queue.actors.core.messages import (
    Cancel,
    CheckRoom,
    Describe,
    Get,
    GetThroughput,
    Submit,
    Wake,
)
from ollama_queue.actors.core.messages.replies import Stored
from ollama_queue.actors.core.model.errors import QueueError
from ollama_queue.actors.core.model.stats import PlanState
from ollama_queue.actors.core.model.tasks import Record, Submitted


def doors(ref: Ref) -> None:
    stored: Stored = ask(ref, Get("a"))
    record: Record = ask(ref, Get("a"))  # wrong
    ask(ref, Wake())  # wrong
    states: list[PlanState | QueueError] = ask_all(ref, [Describe()])
    paces: list[str | QueueError] = ask_all(ref, [GetThroughput()])  # wrong
    print(stored, record, states, paces)


class Answering(Actor):
    def handle(self, message: Get | Cancel | CheckRoom | Submit) -> Replied | None:
        match message:
            case Get():
                return reply(message, Stored)  # wrong
            case Cancel():
                return reply(message, True)  # wrong
            case CheckRoom():
                return True  # wrong
            case Submit():
                return reply(message, None)  # wrong

    def pass_them_on(self, ref: Ref, submit: Submit, cancel: Cancel) -> None:
        promise = self.later(submit)
        self.pass_on(ref, Get("known"), promise)  # one of its replies
        self.pass_on(ref, Get("known"), self.later(cancel))  # wrong
        self.keep(self.later(cancel), True)  # wrong


def keeping(future: Future[Record], promise: Promise[Record]) -> None:
    promise.set(True)  # wrong
    narrow: Promise[Submitted] = Future[Submitted | Stored]()
    wide: Promise[Submitted | Stored] = Future[Submitted]()  # wrong
    print(future.get(None).created_at, future.get(None).submitted_at)  # wrong
    print(narrow, wide)
