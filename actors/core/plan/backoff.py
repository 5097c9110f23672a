"""Delays before retries and probes."""

from ..config.config import RetrySettings


def delay(retry: RetrySettings, retry_count: int, chance: float) -> float:
    """Seconds until retry number `retry_count` (from 1): exponential backoff with equal jitter.

    The base is `initial_delay * backoff_factor**(retry_count - 1)`, at most `max_delay`; half of
    it is kept and half is scaled by `chance` (0 to 1), so that tasks that failed together do not
    retry together (M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog 2015).
    A server's Retry-After rests that server, not the task: another server may be free.
    """
    try:
        base = min(retry.max_delay, retry.initial_delay * retry.backoff_factor ** (retry_count - 1))
    except OverflowError:
        base = retry.max_delay
    return base / 2 + base / 2 * chance


def probe_delay(failures: int) -> float:
    """Seconds until an unavailable backend is probed: 1, 2, 4 … 30 after `failures` (from 1)."""
    return float(min(30, 2 ** min(failures - 1, 5)))
