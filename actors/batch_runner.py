"""Runs batches whose tasks are the lines of a file, from the file to their output files."""

import queue
import threading
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, assert_never

from msgspec import Struct
from msgspec.structs import replace

from .base.actor import Actor, Ref, Replied, log, tell
from .base.cooperation import YieldControl, never_yield
from .base.inbox import Promise
from .batch_steps import StepTools, draft_lines, write_files
from .core.messages import (
    AwaitBatch,
    Cancel,
    ClaimKey,
    Commit,
    FindLiveTasks,
    SubmitBatch,
    Wake,
)
from .core.messages.batch_runner import (
    CancelBatch,
    CreateBatch,
    DeleteBatch,
    Drafted,
    KeyClaimed,
    StepEnded,
    TasksEnded,
    TasksFound,
    TasksSubmitted,
    TaskStopped,
    ToBatchRunner,
    Written,
)
from .core.messages.replies import LiveTasks
from .core.model.errors import Conflict, QueueError, QueueFull, Unavailable
from .core.model.orders import (
    DropBatch,
    DropFile,
    Save,
    SaveBatch,
    SaveFile,
    SaveJob,
)
from .core.model.tasks import Batch, BatchFault, BatchJob, BatchStatus
from .core.plan.settle import utc

MOST = 1000  # unfinished batches
AGAIN_S = 30.0  # until a step is tried again that the disk or the queue did not allow
LOOK_S = 1.0  # between two searches for tasks to cancel: some may not be queued yet

BatchStep = Callable[[], Drafted | Written]


class Pass(Struct):
    """One pass over the tasks of a batch, to cancel those that have not ended."""

    left: int = 0  # cancels without an answer
    rest: str | None = None  # where to go on


class BatchRunner(Actor):
    """Owns the unfinished batches from files: what each of them waits for.

    A batch is validated, its tasks are submitted and end, its files are written. Each of these is
    saved before the next begins, so that a boot goes on where a crash has cut it off.
    """

    def __init__(
        self,
        report: Callable[[str], None],
        *,
        yield_control: YieldControl = never_yield,
        jobs: list[Batch],
        scheduler: Ref,
        persistence: Ref,
        make_tools: Callable[[], StepTools],
        clock: Callable[[], float],
    ) -> None:
        """`clock` is the wall clock, as completion windows end at an instant."""
        super().__init__(report, yield_control, clock)
        self.scheduler, self.persistence, self.make_tools = scheduler, persistence, make_tools
        self.batches = {batch.id: batch for batch in jobs}  # their counts are old
        self.submitted: set[str] = set()  # whose tasks the scheduler has been sent
        self.claims: dict[str, tuple[CreateBatch, Promise[str] | None]] = {}  # new, with a key
        self.cancels: dict[str, list[Promise[Batch] | None]] = {}  # that wait for `TasksSubmitted`
        self.passes: dict[str, Pass] = {}
        self.later_steps: dict[str, float] = {}  # when to try a step again
        self.later_passes: dict[str, float] = {}  # when to look again
        self.steps: queue.SimpleQueue[tuple[str, BatchStep] | None] = queue.SimpleQueue()

    def on_start(self) -> None:
        self.tools = self.make_tools()
        name = "ollama-queue-batches"
        threading.Thread(target=self.make_steps, name=name, daemon=True).start()
        for batch in self.batches.values():
            self.go_on(batch)
        self.set_alarm()

    def on_close(self) -> None:
        self.steps.put(None)
        self.tools.pool.finish(5.0)

    def handle(self, message: ToBatchRunner) -> Replied | None:
        match message:
            case CreateBatch():
                self.create(message)
            case KeyClaimed(batch_id, holder):
                self.key_claimed(batch_id, holder)
            case CancelBatch(batch_id):
                self.cancel(message, batch_id)
            case DeleteBatch(batch_id, file_ids):
                self.delete(message, batch_id, file_ids)
            case StepEnded(batch_id, result):
                self.step_ended(batch_id, result)
            case TasksSubmitted(batch, refusal):
                self.tasks_submitted(batch, refusal)
            case TasksEnded(batch_id, is_true):
                if is_true:
                    self.tasks_ended(batch_id)
            case TasksFound(batch_id, live):
                self.stop_tasks(batch_id, live)
            case TaskStopped(batch_id):
                self.task_stopped(batch_id)
            case Wake():
                self.wake()
            case _:
                assert_never(message)
        self.set_alarm()
        return None

    # --- commands -------------------------------------------------------------------------------

    def create(self, command: CreateBatch) -> None:
        if len(self.batches) + len(self.claims) >= MOST:
            raise QueueFull(f"{MOST} batches are not finished yet", retry_after_s=60)
        if command.key is None:
            self.accept(command, self.later(command))
            return
        batch_id = command.batch.id
        self.claims[batch_id] = command, self.later(command)
        claim = ClaimKey(command.key, command.body, batch_id)
        self.send_for(self.scheduler, claim, partial(KeyClaimed, batch_id))

    def key_claimed(self, batch_id: str, holder: str | QueueError) -> None:
        """Accept a batch whose key is its own, or answer with the one that has it."""
        command, promise = self.claims.pop(batch_id)
        if isinstance(holder, QueueError):
            self.keep(promise, holder)
        elif holder == batch_id:
            self.accept(command, promise)
        else:  # answered once its record is durable
            self.pass_on(self.persistence, Commit((), utc(self.clock()), holder), promise)

    def accept(self, command: CreateBatch, promise: Promise[str] | None) -> None:
        batch = self.batches[command.batch.id] = command.batch
        saved = SaveBatch(batch, command.key, command.body)
        commit = Commit((saved, *command.entries()), utc(self.clock()), batch.id)
        self.pass_on(self.persistence, commit, promise)
        self.go_on(batch)

    def cancel(self, command: CancelBatch, batch_id: str) -> None:
        job = self.job(batch_id)
        if job is None or job.status is BatchStatus.FINALIZING:
            raise Conflict(f"batch {batch_id} has ended: it cannot be cancelled", field="id")
        tell(self.persistence, Commit(command.entries(), utc(self.clock()), True))
        promise = self.later(command)
        if batch_id in self.submitted and job.status is BatchStatus.VALIDATING:
            self.cancels.setdefault(batch_id, []).append(promise)  # its tasks are being stored
        else:
            self.begin_cancel(batch_id, [promise])

    def delete(self, command: DeleteBatch, batch_id: str, file_ids: tuple[str, ...]) -> None:
        if batch_id in self.batches:
            raise Conflict(f"batch {batch_id} has not ended: it cannot be deleted", field="id")
        drops = map(DropFile, file_ids)
        commit = Commit((DropBatch(batch_id), *drops, *command.entries()), utc(self.clock()), True)
        self.pass_on(self.persistence, commit, self.later(command))

    def begin_cancel(self, batch_id: str, promises: Iterable[Promise[Batch] | None]) -> None:
        job = self.batches[batch_id].job
        assert job is not None
        was, now = job.status, utc(self.clock())
        if job.cancelling_at is None:
            self.change(batch_id, status=BatchStatus.CANCELLING, cancelling_at=now)
        for promise in promises:
            commit = Commit((), now, self.batches[batch_id])  # answered after the change
            self.pass_on(self.persistence, commit, promise)
        if was is BatchStatus.VALIDATING:
            self.later_steps.pop(batch_id, None)
            self.write(batch_id)  # there are no tasks
        elif was is BatchStatus.IN_PROGRESS:
            self.find_tasks(batch_id, "")

    # --- from one state to the next -------------------------------------------------------------

    def go_on(self, batch: Batch) -> None:
        """Begin what the batch's status says is next."""
        job = batch.job
        assert job is not None
        if job.status is BatchStatus.VALIDATING:
            self.steps.put((batch.id, partial(draft_lines, job, self.tools)))
            return
        self.watch(batch.id)
        if job.cancelling_at is not None or job.expired_at is not None:
            self.find_tasks(batch.id, "")

    def step_ended(self, batch_id: str, result: Drafted | Written | QueueError) -> None:
        job = self.job(batch_id)
        if job is None:
            return
        match result:
            case Drafted(submit, faults, model):
                if job.status is not BatchStatus.VALIDATING:
                    pass  # cancelled meanwhile
                elif submit is None:
                    self.fail(batch_id, faults)
                else:
                    self.submit(batch_id, replace(job, model=model), submit)
            case Written():
                self.finish(batch_id, job, result)
            case QueueFull():
                self.fail(batch_id, [BatchFault(code=result.code, message=result.message)])
            case QueueError():
                log.warning("batch %s waits %g s: %s", batch_id, AGAIN_S, result.message)
                self.later_steps[batch_id] = self.clock() + AGAIN_S
            case _:
                assert_never(result)

    def submit(self, batch_id: str, job: BatchJob, submit: SubmitBatch) -> None:
        """Have the tasks accepted. The batch is in progress as soon as they are stored, not
        earlier: a boot deletes what is stored in part, and begins anew."""
        begun = replace(job, status=BatchStatus.IN_PROGRESS, in_progress_at=utc(self.clock()))
        batch = replace(self.batches[batch_id], job=begun)
        self.submitted.add(batch_id)
        command = replace(submit, batch=batch)
        self.send_for(self.scheduler, command, partial(_submitted, batch))

    def tasks_submitted(self, batch: Batch, refusal: QueueError | None) -> None:
        batch_id = batch.id
        self.submitted.discard(batch_id)
        cancels = self.cancels.pop(batch_id, [])
        if refusal is None:
            self.batches[batch_id] = batch
            self.watch(batch_id)
        elif isinstance(refusal, Unavailable):
            self.later_steps[batch_id] = self.clock() + AGAIN_S
        else:
            self.fail(batch_id, [BatchFault(code=refusal.code, message=refusal.message)])
        if cancels and batch_id in self.batches:
            self.begin_cancel(batch_id, cancels)
        else:
            for promise in cancels:
                self.keep(promise, Conflict(f"batch {batch_id} has failed", field="id"))

    def watch(self, batch_id: str) -> None:
        self.send_for(self.persistence, AwaitBatch(batch_id), partial(_ended, batch_id))

    def tasks_ended(self, batch_id: str) -> None:
        job = self.job(batch_id)
        if job is None:
            return
        self.passes.pop(batch_id, None)
        self.later_passes.pop(batch_id, None)
        if job.status is BatchStatus.IN_PROGRESS:
            now = utc(self.clock())
            self.change(batch_id, status=BatchStatus.FINALIZING, finalizing_at=now)
        self.write(batch_id)

    def write(self, batch_id: str) -> None:
        batch = self.batches[batch_id]
        assert batch.job is not None
        self.steps.put((batch_id, partial(write_files, batch, batch.job, self.tools)))

    def finish(self, batch_id: str, job: BatchJob, written: Written) -> None:
        """Save the batch's end together with its files: all of it or nothing."""
        now = utc(self.clock())
        ended: dict[str, Any] = {"status": BatchStatus.COMPLETED, "completed_at": now}
        if job.cancelling_at is not None:
            ended = {"status": BatchStatus.CANCELLED, "cancelled_at": now}
        elif job.expired_at is not None:
            ended = {"status": BatchStatus.EXPIRED}
        files = [file for file in (written.output, written.errors) if file is not None]
        output, errors = written.output, written.errors
        self.change(
            batch_id,
            *(SaveFile(file) for file in files),
            **ended,
            output_file_id=None if output is None else output.id,
            error_file_id=None if errors is None else errors.id,
            answered=written.answered,
            refused=written.refused,
            usage=written.usage,
        )
        self.forget(batch_id)

    def fail(self, batch_id: str, faults: list[BatchFault]) -> None:
        now = utc(self.clock())
        self.change(batch_id, status=BatchStatus.FAILED, failed_at=now, faults=faults)
        self.forget(batch_id)

    # --- ending early ---------------------------------------------------------------------------

    def expire(self, batch_id: str) -> None:
        now = utc(self.clock())
        self.change(batch_id, status=BatchStatus.FINALIZING, finalizing_at=now, expired_at=now)
        self.find_tasks(batch_id, "")

    def find_tasks(self, batch_id: str, after: str) -> None:
        self.passes[batch_id] = Pass()
        command = FindLiveTasks(batch_id, after)
        self.send_for(self.persistence, command, partial(_found, batch_id))

    def stop_tasks(self, batch_id: str, live: LiveTasks | None) -> None:
        this_pass = self.passes.get(batch_id)
        if this_pass is None or live is None:
            return  # they have ended, or the queue is stopping
        this_pass.left, this_pass.rest = len(live.task_ids), live.after
        for task_id in live.task_ids:
            self.send_for(self.scheduler, Cancel(task_id), partial(_stopped, batch_id))
        self.continue_pass(batch_id, this_pass)

    def task_stopped(self, batch_id: str) -> None:
        this_pass = self.passes.get(batch_id)
        if this_pass is not None:
            this_pass.left -= 1
            self.continue_pass(batch_id, this_pass)

    def continue_pass(self, batch_id: str, this_pass: Pass) -> None:
        """Go on once this slice is cancelled; after the last, look again until all have ended."""
        if this_pass.left > 0:
            return
        if this_pass.rest is not None:
            self.find_tasks(batch_id, this_pass.rest)
        else:
            self.later_passes[batch_id] = self.clock() + LOOK_S

    # --- time -----------------------------------------------------------------------------------

    def wake(self) -> None:
        now = self.clock()
        for batch_id in [i for i, due in self.later_steps.items() if due <= now]:
            del self.later_steps[batch_id]
            batch = self.batches[batch_id]
            assert batch.job is not None
            if batch.job.status is BatchStatus.VALIDATING:
                self.go_on(batch)
            else:
                self.write(batch_id)
        for batch_id in [i for i, due in self.later_passes.items() if due <= now]:
            del self.later_passes[batch_id]
            self.find_tasks(batch_id, "")
        for batch_id, batch in list(self.batches.items()):
            job = batch.job
            assert job is not None
            if job.status is BatchStatus.IN_PROGRESS and job.expires_at.timestamp() <= now:
                self.expire(batch_id)

    def set_alarm(self) -> None:
        ends = [
            batch.job.expires_at.timestamp()
            for batch in self.batches.values()
            if batch.job is not None and batch.job.status is BatchStatus.IN_PROGRESS
        ]
        dues = [*self.later_steps.values(), *self.later_passes.values(), *ends]
        self.wake_at(min(dues, default=None))

    # --- helpers --------------------------------------------------------------------------------

    def job(self, batch_id: str) -> BatchJob | None:
        """The job of an unfinished batch."""
        batch = self.batches.get(batch_id)
        return None if batch is None else batch.job

    def change(self, batch_id: str, *saves: Save, **fields: Any) -> None:
        """Save changed fields of a batch's job, in one commit with other saves."""
        batch = self.batches[batch_id]
        assert batch.job is not None
        job = replace(batch.job, **fields)
        self.batches[batch_id] = replace(batch, job=job)
        commit = Commit((*saves, SaveJob(batch_id, job)), utc(self.clock()), None)
        tell(self.persistence, commit)

    def forget(self, batch_id: str) -> None:
        del self.batches[batch_id]
        self.later_steps.pop(batch_id, None)

    # --- the thread of steps --------------------------------------------------------------------

    def make_steps(self) -> None:
        me = self.actor_ref
        while (next_step := self.steps.get()) is not None:
            batch_id, step = next_step
            try:
                result: Drafted | Written | QueueError = step()
            except QueueError as error:
                result = error.again()
            except Exception as error:  # one bad batch must not take the queue with it
                log.error("a step of batch %s failed\n%s", batch_id, traceback.format_exc())
                result = Unavailable(f"{type(error).__name__}: {error}")
            tell(me, StepEnded(batch_id, result))
            del next_step, step, result


def _submitted(batch: Batch, reply: object) -> TasksSubmitted:
    return TasksSubmitted(batch, reply if isinstance(reply, QueueError) else None)


def _ended(batch_id: str, reply: object) -> TasksEnded:
    return TasksEnded(batch_id, not isinstance(reply, QueueError))


def _found(batch_id: str, reply: object) -> TasksFound:
    return TasksFound(batch_id, reply if isinstance(reply, LiveTasks) else None)


def _stopped(batch_id: str, _: object) -> TaskStopped:
    """Count a cancel as done, whatever the reply."""
    return TaskStopped(batch_id)
