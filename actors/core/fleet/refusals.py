"""Why PostgreSQL takes no writes: what its errors say, in words for users."""

# How errors of the store begin, whatever language PostgreSQL speaks. Crashes are told as text.
DISK_FULL = "PostgreSQL's disk is full"
READ_ONLY = (
    "PostgreSQL takes no writes: it is a standby, or default_transaction_read_only is on; "
    "queue.storage must lead to the one that takes them"
)
REFUSED = "PostgreSQL has refused a statement"


def trouble(error: str) -> str:
    """Why the database cannot be used, from an error of the store, in words for users."""
    if why := refusal(error):
        return why
    if "FATAL:" in error:
        return "its database refuses connections, and the log says why"
    return "its database does not answer"


def refusal(error: str) -> str | None:
    """What to tell users of an error of the store, if PostgreSQL has refused to write: then nothing
    was written. None for any other. The error itself may name what is nobody's business."""
    if DISK_FULL in error:
        return f"{DISK_FULL}; the queue continues when there is space again"
    if READ_ONLY in error:
        return "the database is read-only; the queue continues when it can be written again"
    if REFUSED in error:
        return (
            "PostgreSQL refuses what the queue writes, and the log says why; "
            "the queue continues when it is taken again"
        )
    return None
