"""Ollama Queue: a durable priority queue in front of Ollama and OpenAI-compatible servers.

The names below are the public Python interface. Each is imported when it is first used, so that
`import ollama_queue.http.serving.serve` can patch the standard library before anything else is
loaded, and so that the command line starts quickly. A wheel installs this file as the package's
`__init__.py`.
"""

import os.path

TYPE_CHECKING = False  # type checkers assume True; importing typing would double the import time

if not __file__.endswith(("__init__.py", "__init__.pyc")):
    # A checkout or an editable install: this folder is the package, so that
    # ollama_queue.actors is ./actors, ollama_queue.http is ./http, and so on.
    __path__ = [os.path.dirname(os.path.abspath(__file__))]
    if __spec__ is not None:
        __spec__.submodule_search_locations = __path__

if TYPE_CHECKING:
    from typing import Any

    from ollama_queue.actors.api.queue_api import QueueAPI
    from ollama_queue.actors.api.subscription import Subscription
    from ollama_queue.actors.backup.manifest import BackupManifest
    from ollama_queue.actors.base.mailbox import Closed
    from ollama_queue.actors.core.activity.audit import AuditEntry, AuditPage
    from ollama_queue.actors.core.activity.failures import FailureGroup
    from ollama_queue.actors.core.config.config import Config
    from ollama_queue.actors.core.fleet.servers import FleetServer
    from ollama_queue.actors.core.intake.bulk import BulkError, BulkResult
    from ollama_queue.actors.core.intake.submission import chat_task, embed_task, generate_task
    from ollama_queue.actors.core.model.access_keys import (
        Budget,
        KeyCreated,
        KeyInfo,
        KeyRules,
        NewKey,
    )
    from ollama_queue.actors.core.model.crons import (
        Cron,
        Missed,
        NewCron,
        Overlap,
        TaskTemplate,
    )
    from ollama_queue.actors.core.model.deliveries import (
        Delivery,
        DeliveryAttempt,
        DeliveryPage,
        DeliveryStatus,
    )
    from ollama_queue.actors.core.model.errors import (
        BatchTimeout,
        Conflict,
        Forbidden,
        Invalid,
        NotFound,
        OutcomeUnknown,
        QueueError,
        QueueFull,
        Unauthorized,
        Unavailable,
    )
    from ollama_queue.actors.core.model.stats import (
        BackendState,
        Period,
        QueueStats,
        StoreSnapshot,
        Unserved,
        UsageReport,
        UsageRow,
    )
    from ollama_queue.actors.core.model.task_filter import TaskFilter, TaskPage
    from ollama_queue.actors.core.model.tasks import (
        Attempt,
        Batch,
        BatchSubmitted,
        Chunk,
        Event,
        NewTask,
        Priority,
        Status,
        Submitted,
        Task,
        TaskResult,
        TaskType,
    )
    from ollama_queue.actors.embedded.manager import QueueManager
    from ollama_queue.http.clients.async_client import AsyncClient
    from ollama_queue.http.clients.client import Client
    from ollama_queue.http.clients.event_loop import AsyncSubscription

__version__ = "0.1.0"

_HOME = {
    "actors.core.activity.audit": ["AuditEntry", "AuditPage"],
    "actors.backup.manifest": ["BackupManifest"],
    "actors.core.intake.bulk": ["BulkError", "BulkResult"],
    "actors.core.config.config": ["Config"],
    "actors.core.model.access_keys": ["Budget", "KeyCreated", "KeyInfo", "KeyRules", "NewKey"],
    "actors.core.model.crons": ["Cron", "Missed", "NewCron", "Overlap", "TaskTemplate"],
    "actors.core.model.deliveries": [
        "Delivery", "DeliveryAttempt", "DeliveryPage", "DeliveryStatus",
    ],
    "actors.core.model.errors": [
        "BatchTimeout", "Conflict", "Forbidden", "Invalid", "NotFound", "OutcomeUnknown",
        "QueueError", "QueueFull", "Unauthorized", "Unavailable",
    ],
    "actors.core.model.stats": [
        "BackendState", "Period", "QueueStats", "StoreSnapshot", "Unserved", "UsageReport",
        "UsageRow",
    ],
    "actors.core.activity.failures": ["FailureGroup"],
    "actors.core.fleet.servers": ["FleetServer"],
    "actors.core.model.task_filter": ["TaskFilter", "TaskPage"],
    "actors.core.model.tasks": [
        "Attempt", "Batch", "BatchSubmitted", "Chunk", "Event", "NewTask", "Priority",
        "Status", "Submitted", "Task", "TaskResult", "TaskType",
    ],
    "actors.core.intake.submission": ["chat_task", "embed_task", "generate_task"],
    "actors.base.mailbox": ["Closed"],
    "actors.api.queue_api": ["QueueAPI"],
    "actors.embedded.manager": ["QueueManager"],
    "actors.api.subscription": ["Subscription"],
    "http.clients.async_client": ["AsyncClient"],
    "http.clients.event_loop": ["AsyncSubscription"],
    "http.clients.client": ["Client"],
}  # fmt: skip
_LAZY = {name: module for module, names in _HOME.items() for name in names}

__all__ = [  # noqa: RUF022 - kept in the order of the table above
    "AuditEntry",
    "AuditPage",
    "BackupManifest",
    "BulkError",
    "BulkResult",
    "Config",
    "Budget",
    "KeyCreated",
    "KeyInfo",
    "KeyRules",
    "NewKey",
    "Cron",
    "Missed",
    "NewCron",
    "Overlap",
    "TaskTemplate",
    "Delivery",
    "DeliveryAttempt",
    "DeliveryPage",
    "DeliveryStatus",
    "BatchTimeout",
    "Conflict",
    "Forbidden",
    "Invalid",
    "NotFound",
    "OutcomeUnknown",
    "QueueError",
    "QueueFull",
    "Unauthorized",
    "Unavailable",
    "BackendState",
    "Period",
    "QueueStats",
    "StoreSnapshot",
    "Unserved",
    "UsageReport",
    "UsageRow",
    "FailureGroup",
    "FleetServer",
    "TaskFilter",
    "TaskPage",
    "Attempt",
    "Batch",
    "BatchSubmitted",
    "Chunk",
    "Event",
    "NewTask",
    "Priority",
    "Status",
    "Submitted",
    "Task",
    "TaskResult",
    "TaskType",
    "chat_task",
    "embed_task",
    "generate_task",
    "Closed",
    "QueueAPI",
    "QueueManager",
    "Subscription",
    "AsyncClient",
    "AsyncSubscription",
    "Client",
]


def __dir__() -> "list[str]":
    """The public names, including those not imported yet."""
    return [*__all__, *(name for name in globals() if name.startswith("__"))]


def __getattr__(name: str) -> "Any":
    if name not in _LAZY:
        raise AttributeError(f"module 'ollama_queue' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"ollama_queue.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
