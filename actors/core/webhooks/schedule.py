"""When a delivery is sent again."""

MINUTE, HOUR = 60.0, 3600.0
# Seconds after each failed attempt; after the last, the delivery has failed. The delays that the
# Standard Webhooks specification recommends: some three days in all.
DELAYS_S = (
    *(5.0, 5 * MINUTE, 30 * MINUTE),
    *(2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR),
)
_GONE = 410  # the receiver wants no more


def next_delay(attempt: int, status: int | None, chance: float) -> float | None:
    """Seconds until the next attempt, after the failure of number `attempt` (from 1); None if there
    is none.

    `status` is that of the answer, if there was one. Each delay is longer by up to a tenth, as
    `chance` (0 to 1) says, so that deliveries that failed together are not sent again together.
    """
    if status == _GONE or attempt > len(DELAYS_S):
        return None
    return DELAYS_S[attempt - 1] * (1 + chance / 10)


def is_delivered(status: int | None) -> bool:
    """Whether the receiver has accepted it."""
    return status is not None and 200 <= status < 300
