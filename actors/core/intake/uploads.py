"""Checks what a user says of a file that they upload."""

from ..model import limits
from ..model.errors import Invalid
from ..model.files import UPLOAD_PURPOSES

EXPIRES_S = range(3600, 2_592_001)  # 1 hour to 30 days


def purpose(value: str | None) -> str:
    """What the file is for. Raises `Invalid`."""
    if value not in UPLOAD_PURPOSES:
        known = ", ".join(UPLOAD_PURPOSES)
        raise Invalid(f"purpose must be one of {known}", field="purpose")
    return value


def filename(value: str) -> str:
    """The last part of a path: a name without folders. Raises `Invalid`."""
    name = value.replace("\\", "/").rpartition("/")[2]
    if not name:
        raise Invalid("file must have a name, such as requests.jsonl", field="file")
    if not name.isprintable():
        shown = ascii(name[:60])
        raise Invalid(
            f"file must have a name without control characters, not {shown}", field="file"
        )
    limits.check_text(name, "file")
    return name


def expires_after(anchor: str | None, seconds: str | None) -> int | None:
    """After how many seconds the file is to be deleted; None: as the settings say. Raises
    `Invalid`."""
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise Invalid("expires_after[anchor] must be created_at", field="expires_after[anchor]")
    digits = (seconds or "").strip()
    is_whole = digits.isascii() and digits.isdigit() and len(digits) < 10
    if not is_whole or int(digits) not in EXPIRES_S:
        raise Invalid(
            f"expires_after[seconds] must be from {EXPIRES_S[0]} (1 hour) to {EXPIRES_S[-1]} "
            "(30 days)",
            field="expires_after[seconds]",
        )
    return int(digits)
