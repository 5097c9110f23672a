"""Runs of crons: the task and the cron's next run are saved together, or why it was skipped."""

from msgspec.structs import replace

from ..messages import SubmitCronRun
from ..model.crons import Overlap
from ..model.errors import Conflict, Invalid, QueueFull
from ..model.orders import Order, SaveCron
from .plan import Plan
from .settle import utc


def submit_cron_run(plan: Plan, task_id: str, cron_run: SubmitCronRun, now: float) -> list[Order]:
    """Submit the task of a run. On an error a manual run raises, a scheduled one is skipped.

    Raises `Conflict`, `QueueFull`, `Invalid` if no backend can run it; `Unavailable` when
    draining.
    """
    cron = cron_run.cron
    try:
        _check_overlap(plan, cron_run)
        orders = plan.submit(task_id, cron_run.submit, now, cron.id)
    except (Conflict, Invalid, QueueFull) as error:
        if cron_run.by_hand:
            raise
        return [SaveCron(cron, "cron_skipped", reason=error.message)]
    ran = replace(cron, run_count=cron.run_count + 1, last_run=utc(now))
    return [*orders, SaveCron(ran, "cron_fired", task_id)]


def _check_overlap(plan: Plan, cron_run: SubmitCronRun) -> None:
    cron = cron_run.cron
    if cron.overlap is Overlap.SKIP and (live := plan.entries.of_cron(cron.id)):
        tasks = (
            "a task of it is pending or running"
            if live == 1
            else f"{live} tasks of it are pending or running"
        )
        raise Conflict(f"cron {cron.id} may not overlap, and {tasks}", field="id")
