"""The names of events, apart from their records: help texts use them without other imports."""

ENDS = frozenset({"task_completed", "task_failed", "task_cancelled"})
EVENTS = ENDS | {
    "task_submitted",
    "task_started",
    "task_retrying",
    "task_deleted",
    "priority_updated",
    "queue_paused",
    "queue_resumed",
    "backend_changed",
    "cron_changed",
    "cron_fired",
    "cron_skipped",
}
DELIVERED = EVENTS - {"task_submitted"}
"""The events that webhooks may name. A batch may submit a million tasks at once."""
