"""What the drop-in APIs need of a queue: its verbs, and calls to its model servers."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from ...actors.core.intake.arguments import AnyTask
from ...actors.core.model.files import FilePage, StoredFile
from ...actors.core.model.outcomes import BackendReply
from ...actors.core.model.tasks import Batch, Submitted
from ...actors.embedded.files import NewFile
from ...actors.embedded.forwarded_call import ForwardedCall
from ...actors.embedded.watch import PieceStream
from ...actors.files.blob_streams import BlobReader
from ..native.feed import LocalQueue


class DropinQueue(LocalQueue, Protocol):
    """A queue in this process; see `QueueManager`."""

    def submit_listed(
        self,
        new: AnyTask,
        *,
        idempotency_key: str | None = None,
        expires_in: float | None = None,
    ) -> Submitted: ...

    def revive_task(self, task_id: str, *, expires_in: float | None = None) -> None: ...

    def abandon_task(self, task_id: str) -> None: ...

    def check_leads(self) -> None: ...

    def follow_next(self, *, heartbeat: float | None) -> PieceStream: ...

    def backend_types(self) -> dict[str, str]: ...

    def may_use_model(self, model: str) -> bool: ...

    def probe_backends(self, names: Collection[str] | None = None) -> None: ...

    def call_backends(
        self, names: Collection[str], path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, BackendReply]: ...

    def load_on_backends(
        self, names: Collection[str], path: str, body: Mapping[str, Any]
    ) -> dict[str, BackendReply]: ...

    def forward(self, name: str, method: str, path: str) -> ForwardedCall: ...

    def dismiss(self, call: ForwardedCall) -> None: ...

    def create_batch(
        self,
        body: Mapping[str, Any],
        tenant: str | None = None,
        *,
        fallback_models: Sequence[str] | None = None,
        idempotency_key: str | None = None,
        digest: bytes = b"",
    ) -> Batch: ...

    def list_jobs(
        self, limit: int, before: str = "", endpoint: str = "", after: str = ""
    ) -> list[Batch]: ...

    def cancel_job(self, batch_id: str) -> Batch: ...

    def delete_job(self, batch_id: str) -> None: ...

    def new_file(self) -> NewFile: ...

    def get_file(self, file_id: str) -> StoredFile: ...

    def list_files(
        self, limit: int, after: str = "", purpose: str = "", *, ascending: bool = False
    ) -> FilePage: ...

    def read_file(self, file_id: str) -> tuple[StoredFile, BlobReader]: ...

    def delete_file(self, file_id: str) -> StoredFile: ...
