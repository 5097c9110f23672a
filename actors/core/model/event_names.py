"""The names of events, which help texts show: nothing is imported for them."""

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
