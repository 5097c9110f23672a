"""Crons for tests, and a ticker between recorders with a manual clock."""

from datetime import datetime, timedelta
from typing import Any

from ollama_queue.actors.core import messages
from ollama_queue.actors.core.intake.crons import new_cron
from ollama_queue.actors.core.messages import Commit, CronFired, Submit, SubmitCronRun
from ollama_queue.actors.core.model.crons import Cron, CronAdded, IfExists, NewCron
from ollama_queue.actors.cron_ticker import CronTicker
from tests.support.recorders import START, Recorder

TEMPLATE = {"type": "generate", "model": "smollm2", "prompt": "again"}


def a_new_cron(**fields: Any) -> NewCron:
    """A new cron that runs every minute by default."""
    plain = {"name": "Again", "cron_expr": "* * * * *", "task_template": TEMPLATE}
    return new_cron({**plain, **fields})


def a_cron(number: int = 1, next_run: datetime | None = None, **facts: Any) -> Cron:
    new = a_new_cron()
    made = {name: getattr(new, name) for name in NewCron.__struct_fields__}
    made |= {"id": f"cron {number}", "created_at": START, "updated_at": START, **facts}
    return Cron(next_run=next_run, **made)


UNKNOWN = "01a20000-0000-7000-8000-000000000000"
ABOUT_CRONS = (
    messages.AddCron(a_new_cron(enabled=False)),
    messages.UpdateCron(UNKNOWN, {}),
    messages.EnableCron(UNKNOWN, True),
    messages.RemoveCron(UNKNOWN),
    messages.RunNow(UNKNOWN),
    messages.GetCron(UNKNOWN),
    messages.ListCrons(),
    messages.CronFired(a_cron()),
)


class CronTickerHarness:
    """A ticker that is not started: `handle` is called by hand, at the time `now`."""

    def __init__(self, *crons: Cron, now: datetime = START) -> None:
        self.now = now
        self.scheduler, self.persistence = Recorder("scheduler"), Recorder("persistence")
        self.ticker = CronTicker(
            lambda text: None,
            crons=crons,
            scheduler=self.scheduler,  # type: ignore[arg-type]
            persistence=self.persistence,  # type: ignore[arg-type]
            clock=lambda: self.now.timestamp(),
        )
        self.due: list[float | None] = []
        self.ticker.wake_at = self.due.append  # type: ignore[method-assign, assignment]
        self.ticker.on_start()

    def handle(self, message: Any) -> None:
        self.ticker.handle(message)

    def at(self, seconds: float) -> None:
        """Set the clock to `seconds` after START and wake the ticker."""
        self.now = START + timedelta(seconds=seconds)
        self.handle(messages.Wake())

    def add(self, if_exists: IfExists | None = None, **fields: Any) -> Cron:
        asked = messages.AddCron(a_new_cron(**fields), if_exists, "enabled" in fields)
        self.handle(asked)
        return self.saved

    @property
    def saved(self) -> Cron:
        """The cron saved or shown last."""
        reply: Cron | CronAdded = self.commits[-1].reply
        return self.ticker.crons[reply.id] if isinstance(reply, CronAdded) else reply

    @property
    def commits(self) -> list[Commit[Any]]:
        return self.persistence.told

    @property
    def submits(self) -> list[Submit]:
        return [fire.submit for fire in self.fires]

    @property
    def fires(self) -> list[SubmitCronRun]:
        return self.scheduler.told

    @property
    def mail(self) -> list[Any]:
        """The messages that the ticker sent to itself."""
        inbox: Any = self.ticker.actor_inbox
        found = []
        while not inbox.empty():
            found.append(inbox.get().message)
        return found

    def ran(self) -> Cron:
        """Answer as the scheduler that accepted the last run."""
        cron_run = self.fires[-1]
        count = cron_run.cron.run_count + 1
        facts = {name: getattr(cron_run.cron, name) for name in Cron.__struct_fields__}
        cron = Cron(**{**facts, "run_count": count, "last_run": self.now})
        self.handle(CronFired(cron))
        return cron
