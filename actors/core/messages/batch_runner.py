"""To the BatchRunner: commands of doors, and how the steps of a batch have ended."""

from msgspec import Struct

from ..model.errors import QueueError
from ..model.files import StoredFile
from ..model.tasks import Batch, BatchFault, BatchUsage
from .command import ChangeCommand
from .replies import LiveTasks
from .scheduler import SubmitBatch
from .wake import Wake


class CreateBatch(ChangeCommand[str], frozen=True):
    """Accept a batch whose tasks are the lines of a file. Reply: its id, once it is on disk.

    `key` and `body` are as in `Submit`: for a known key the reply is the id of that batch.
    """

    batch: Batch
    key: bytes | None = None
    body: bytes = b""


class KeyClaimed(Struct, frozen=True):
    """To whom the key of a new batch belongs: to it, or to an earlier one."""

    batch_id: str
    holder: str | QueueError


class CancelBatch(ChangeCommand[Batch], frozen=True):
    """Cancel what has not ended of a batch from a file. Reply: the batch, once it is on disk; its
    counts are old. `Conflict` if it has ended."""

    batch_id: str


class DeleteBatch(ChangeCommand[bool], frozen=True):
    """Delete the record and the files of a batch from a file. Reply: True, once they are gone;
    `Conflict` if it has not ended."""

    batch_id: str
    file_ids: tuple[str, ...]


class Drafted(Struct, frozen=True):
    """The lines of a batch's file as tasks, or what is wrong in them."""

    submit: SubmitBatch | None
    faults: list[BatchFault]
    model: str | None = None  # of all lines


class Written(Struct, frozen=True):
    """The files of a batch; None for one that would be empty."""

    output: StoredFile | None
    errors: StoredFile | None
    answered: int
    refused: int
    usage: BatchUsage


class StepEnded(Struct, frozen=True):
    """The thread of steps has finished one; an error means that it is to be tried again later."""

    batch_id: str
    result: Drafted | Written | QueueError


class TasksSubmitted(Struct, frozen=True):
    """The scheduler has accepted the tasks of a batch, which is now as given, or has not."""

    batch: Batch
    refusal: QueueError | None


class TasksEnded(Struct, frozen=True):
    """All tasks of a batch have ended; or not, as the queue is stopping."""

    batch_id: str
    is_true: bool


class TasksFound(Struct, frozen=True):
    """Tasks of a batch to cancel; None if they could not be read."""

    batch_id: str
    live: LiveTasks | None


class TaskStopped(Struct, frozen=True):
    """The scheduler has answered the cancel of one of them."""

    batch_id: str


ToBatchRunner = (
    CreateBatch
    | KeyClaimed
    | CancelBatch
    | DeleteBatch
    | StepEnded
    | TasksSubmitted
    | TasksEnded
    | TasksFound
    | TaskStopped
    | Wake
)
