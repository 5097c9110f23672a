"""Mistakes of the protocol that mypy finds: one on each line that says so. It is never run."""

from ollama_queue.actors.base.actor import Actor, Ref, Replied, ask, ask_all, reply
from ollama_queue.actors.base.inbox import Future, Promise
from ollama_queue.actors.core.messages import (
    Cancel,
    CheckCapacity,
    Describe,
    GetTask,
    GetThroughput,
    Submit,
    Wake,
)
from ollama_queue.actors.core.messages.replies import StoredTask
from ollama_queue.actors.core.model.errors import QueueError
from ollama_queue.actors.core.model.stats import PlanState
from ollama_queue.actors.core.model.tasks import Record, Submitted


def doors(ref: Ref) -> None:
    stored: StoredTask = ask(ref, GetTask("a"))
    record: Record = ask(ref, GetTask("a"))  # wrong
    ask(ref, Wake())  # wrong
    states: list[PlanState | QueueError] = ask_all(ref, [Describe()])
    paces: list[str | QueueError] = ask_all(ref, [GetThroughput()])  # wrong
    print(stored, record, states, paces)


class Answering(Actor):
    def handle(self, message: GetTask | Cancel | CheckCapacity | Submit) -> Replied | None:
        match message:
            case GetTask():
                return reply(message, StoredTask)  # wrong
            case Cancel():
                return reply(message, True)  # wrong
            case CheckCapacity():
                return True  # wrong
            case Submit():
                return reply(message, None)  # wrong

    def pass_them_on(self, ref: Ref, submit: Submit, cancel: Cancel) -> None:
        promise = self.later(submit)
        self.pass_on(ref, GetTask("known"), promise)  # one of its replies
        self.pass_on(ref, GetTask("known"), self.later(cancel))  # wrong
        self.keep(self.later(cancel), True)  # wrong


def keeping(future: Future[Record], promise: Promise[Record]) -> None:
    promise.set(True)  # wrong
    narrow: Promise[Submitted] = Future[Submitted | StoredTask]()
    wide: Promise[Submitted | StoredTask] = Future[Submitted]()  # wrong
    print(future.get(None).created_at, future.get(None).submitted_at)  # wrong
    print(narrow, wide)
