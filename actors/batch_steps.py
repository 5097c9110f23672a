"""The long steps of a batch from a file: its lines to tasks, and its tasks to files.

They run in a thread of the BatchRunner's, where they may wait.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta

import msgspec
from msgspec import Struct

from .api.views import whole
from .base.actor import Ref, ask
from .base.cooperation import YieldControl, cooperatively, run_steps
from .base.thread_pool import Pool
from .batch_loading import LOOK_BYTES, LOOK_TASKS, BatchPacker
from .core.intake.batch_jobs import ENDPOINTS, LineChecks, LineRefused
from .core.intake.run_order import RunOrder
from .core.intake.submission import drafting
from .core.messages import CheckCapacity, GetFile, ReadLines
from .core.messages.batch_runner import Drafted, Written
from .core.messages.replies import StoredTask
from .core.model import limits
from .core.model.errors import Invalid, NotFound, cut
from .core.model.files import BATCH_OUTPUT, StoredFile, id_of_file
from .core.model.tasks import Batch, BatchFault, BatchJob, BatchUsage, Status
from .core.openai.batch_output import error_line, output_line, usage_of
from .core.plan.settle import utc
from .core.text import strict_json
from .core.text.json_items import in_lines
from .core.text.json_weight import weigh
from .files.blob_streams import BlobReader, BlobWriter
from .files.blobs import Blobs
from .files.text_encoding import as_utf8

_encode = msgspec.json.encode
MOST_FAULTS = 100  # then the rest of the file is not read
LARGEST_LINE = 64 << 20  # bytes


class StepTools(Struct, frozen=True):
    """What the steps work with. `mint` makes ids; `check_free_space` takes a number of bytes;
    `file_retention_s` is how long files are kept that do not say, None for ever."""

    blobs: Blobs
    pool: Pool
    scheduler: Ref
    persistence: Ref
    mint: Callable[[], str]
    check_free_space: Callable[[int], None]
    file_retention_s: float | None
    yield_control: YieldControl


# --- lines to tasks -----------------------------------------------------------------------------


def draft_lines(job: BatchJob, tools: StepTools) -> Drafted:
    """Check all lines of a batch's file and encode their tasks. Raises `Unavailable`, `QueueFull`.

    What is wrong in the file is in the result.
    """
    draft = _Draft(job, tools)
    try:
        ask(tools.persistence, GetFile(job.input_file_id))
        reader = BlobReader(tools.blobs, tools.pool, job.input_file_id)
    except NotFound as error:
        draft.add_fault(0, "input_file_not_found", error.message, "input_file_id")
        return draft.result()
    try:
        pieces = as_utf8(cooperatively(reader, tools.yield_control), "the file", "input_file_id")
        for place, line in in_lines(pieces, "the file", "input_file_id", LARGEST_LINE):
            draft.add(int(place.removeprefix("line ")), line)
            if draft.is_hopeless:
                break
    except Invalid as error:  # between two lines
        draft.add_fault(0, "invalid_file", error.message)
    finally:
        reader.close()
    return draft.result()


class _Draft:
    """The tasks of a batch, as far as its file is read."""

    def __init__(self, job: BatchJob, tools: StepTools) -> None:
        self._checks = LineChecks(
            job.endpoint,
            job.priority,
            job.tenant,
            allowed_models=job.allowed_models,
            backend=job.backend,
            fallback_models=job.fallback_models,
        )
        self._packer, self._order = BatchPacker(is_keyed=False), RunOrder()
        self._faults: list[BatchFault] = []
        self._models: set[str] = set()
        self._tools = tools
        self._looked_tasks = self._looked_bytes = 0

    @property
    def is_hopeless(self) -> bool:
        return len(self._faults) >= MOST_FAULTS

    def add(self, number: int, line: bytes) -> None:
        tools = self._tools
        try:
            run_steps(weigh(line, "the line", "line"), tools.yield_control)
            try:
                raw = strict_json.decode(line, "the line", "line")
            except Invalid as error:
                raise LineRefused("invalid_json_line", error.message) from None
            tools.yield_control()  # it may be large, and is encoded next
            new = self._checks.task(raw)
            submit = run_steps(drafting(new), tools.yield_control)
        except LineRefused as error:
            self.add_fault(number, error.code, error.message, error.field)
        except Invalid as error:
            self.add_fault(number, "invalid_request", error.message, error.field)
        else:
            if not self._faults:
                self._models.add(new.model)
                self._order.add(self._packer.add(submit).route, new)
                self._check_capacity()
        tools.yield_control()

    def add_fault(self, number: int, code: str, message: str, param: str | None = None) -> None:
        text = cut(message, limits.FAULT)
        fault = BatchFault(code=code, message=text, param=param, line=number or None)
        self._faults.append(fault)

    def _check_capacity(self) -> None:
        count, size = self._packer.count, self._packer.size
        if count - self._looked_tasks >= LOOK_TASKS or size - self._looked_bytes >= LOOK_BYTES:
            self._looked_tasks, self._looked_bytes = count, size
            self._tools.check_free_space(size)
            ask(self._tools.scheduler, CheckCapacity(count, size))

    def result(self) -> Drafted:
        if not self._faults and not self._packer.count:
            self.add_fault(0, "empty_file", "the file has no lines", "input_file_id")
        if self._faults:
            return Drafted(None, self._faults)
        self._tools.check_free_space(self._packer.size)
        model = next(iter(self._models)) if len(self._models) == 1 else None
        turns = run_steps(self._order.turns(), self._tools.yield_control)
        return Drafted(self._packer.packed(turns=turns), [], model)


# --- tasks to files -----------------------------------------------------------------------------


def write_files(batch: Batch, job: BatchJob, tools: StepTools) -> Written:
    """Write the output and error files of a batch whose tasks have ended. Raises `Unavailable`."""
    with ExitStack() as open_files:
        output = _OutputFile("output", batch, job, tools, open_files)
        errors = _OutputFile("errors", batch, job, tools, open_files)
        refused, usage = 0, BatchUsage()
        reply = ENDPOINTS[job.endpoint].reply
        for task in _tasks(batch.id, tools):
            if task.record.status is Status.COMPLETED and task.result is not None:
                body = task.result if reply is None else _encode(reply(whole(task, None)))
                output.add(output_line(task, body))
                usage = _sum(usage, usage_of(body))
            else:
                errors.add(error_line(task, job))
                refused += task.record.status is Status.FAILED
        return Written(output.finish(), errors.finish(), output.lines, refused, usage)


def _tasks(batch_id: str, tools: StepTools) -> Iterator[StoredTask]:
    after: str | None = ""
    while after is not None:
        lines = ask(tools.persistence, ReadLines(batch_id, after))
        yield from cooperatively(lines.lines, tools.yield_control)
        after = lines.after


def _sum(one: BatchUsage, other: BatchUsage) -> BatchUsage:
    return BatchUsage(
        input=one.input + other.input,
        cached=one.cached + other.cached,
        output=one.output + other.output,
        reasoning=one.reasoning + other.reasoning,
    )


class _OutputFile:
    """One of a batch's files, created with its first line."""

    def __init__(
        self, kind: str, batch: Batch, job: BatchJob, tools: StepTools, open_files: ExitStack
    ) -> None:
        self._name = f"batch_{batch.id.replace('-', '')}_{kind}.jsonl"
        self._job, self._tools, self._open_files = job, tools, open_files
        self._writer: BlobWriter | None = None
        self.lines = 0

    def add(self, line: bytes) -> None:
        tools = self._tools
        if self._writer is None:
            blob_id = id_of_file(tools.mint())
            writer = BlobWriter(tools.blobs, tools.pool, blob_id, tools.check_free_space)
            self._writer = self._open_files.enter_context(writer)
        self._writer.write(line)
        self.lines += 1

    def finish(self) -> StoredFile | None:
        """The record of the file, whose bytes are durable."""
        if self._writer is None:
            return None
        self._writer.finish()
        seconds: float | None = self._job.output_expires_s
        if seconds is None:
            seconds = self._tools.file_retention_s
        now = utc(time.time())
        return StoredFile(
            id=self._writer.id,
            filename=self._name,
            purpose=BATCH_OUTPUT,
            size=self._writer.size,
            created_at=now,
            expires_at=None if seconds is None else now + timedelta(seconds=seconds),
            tenant=self._job.tenant,
        )
