"""Commands and the types of their replies."""

from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from ..activity.audit import AuditNote
from ..model.orders import SaveAudit

Reply = TypeVar("Reply")


class Command(Struct, Generic[Reply], frozen=True, tag=True, forbid_unknown_fields=True):
    """A message that is asked, declared with its reply: `class Get(Command[Stored], …)`.

    Type checkers check both the asking and the answering side. Facts are plain structs: they are
    told. A command may also be told, by an actor that needs no reply. The tag is for those that are
    sent to another server.
    """


class ChangeCommand(Command[Reply], Generic[Reply], frozen=True, kw_only=True):
    """A command with which somebody changes something: `audit` is saved in the commit of the
    change. None: the queue does it on its own."""

    audit: AuditNote | None = None

    def entries(self, target: str = "") -> tuple[SaveAudit, ...]:
        """What saves the entry; `target` is the id of what did not have one when it was noted."""
        note = self.audit
        return () if note is None else (SaveAudit(replace(note, target=note.target or target)),)
