"""The audit log: who changed what, when, and from where."""

from datetime import datetime

from msgspec import Struct

from ..model import limits
from ..model.errors import cut
from ..model.tasks import PublicRecord

NOBODY = "-"  # who, without API keys
MOST_ENTRIES = 100_000  # kept; the oldest make way
MOST_SCANNED = 2000  # entries that one page reads


class Origin(Struct, frozen=True):
    """Who makes a change: the name of the API key, the door (`python`, `client`, `cli`, `page`,
    `http`), the address, and the tenant of the key."""

    who: str = NOBODY
    door: str = "python"
    address: str = ""
    tenant: str | None = None


class AuditNote(Struct, frozen=True):
    """A change, as it is sent with the command that makes it: saved in the same commit.

    `action` is the verb, `target` the id or name of what it changes, `detail` what else matters.
    None of them has text of prompts, or secrets.
    """

    action: str
    target: str
    detail: str
    origin: Origin


def audit_note(action: str, target: str, detail: str, origin: Origin) -> AuditNote:
    """A note with texts cut to the limits of names."""
    return AuditNote(action, cut(target, limits.NAME), cut(detail, limits.NAME), origin)


class AuditEntry(Struct, PublicRecord, frozen=True, kw_only=True):
    """One change that somebody made, at `at`.

    `action` is the verb of the Python API, `target` the id or name of what was changed, `detail`
    the rest in a few words. `who` is the name of the API key ("-" without keys), `door` the way it
    came: "python" (the program that has the queue open), "client", "cli", "page" or "http";
    `address` is the client's. `tenant` is that of the key. `seq` grows with each change.
    """

    seq: int
    at: datetime
    action: str
    target: str
    detail: str
    who: str
    door: str
    address: str
    tenant: str | None = None


class AuditPage(Struct, PublicRecord, frozen=True):
    """Some `entries`, newest first; `cursor` is where the next page goes on, None at the end."""

    entries: list[AuditEntry]
    cursor: str | None = None


class AuditQuery(Struct, frozen=True):
    """At most `limit` entries older than `before`, with these values (None: any)."""

    limit: int = 100
    before: int | None = None
    who: str | None = None
    action: str | None = None
    target: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    tenant: str | None = None

    def matches(self, entry: AuditEntry) -> bool:
        return (
            self.who in (None, entry.who)
            and self.action in (None, entry.action)
            and self.target in (None, entry.target)
            and self.tenant in (None, entry.tenant)
            and (self.until is None or entry.at < self.until)
            and (self.since is None or entry.at >= self.since)
        )


def entry_of(note: AuditNote, seq: int, at: datetime) -> AuditEntry:
    origin = note.origin
    return AuditEntry(
        seq=seq,
        at=at,
        action=note.action,
        target=note.target,
        detail=note.detail,
        who=origin.who,
        door=origin.door,
        address=origin.address,
        tenant=origin.tenant,
    )
