"""All messages between actors, one room for each receiver: read them and you know the system.

Each is a frozen value. A command names its reply; what has no reply is told, never asked. Those
that are orders of the plan are in `orders.py`.
"""

from ollama_queue.actors.core.messages.event_bus import (
    Attach,
    Chunks,
    Farewell,
    Publish,
    Subscribe,
    ToEventBus,
    Unsubscribe,
)
from ollama_queue.actors.core.messages.persistence import (
    Commit,
    Count,
    Deny,
    Fetch,
    Get,
    GetSpec,
    Query,
    Recover,
    Scanned,
    Synced,
    ToPersistence,
)
from ollama_queue.actors.core.messages.prober import Probed, ToProber
from ollama_queue.actors.core.messages.scheduler import (
    BackendChanged,
    Cancel,
    Delete,
    Describe,
    Drain,
    Explain,
    Fetched,
    Finished,
    Pause,
    Reprioritize,
    Resume,
    Retry,
    Submit,
    ToScheduler,
    WorkerLost,
)
from ollama_queue.actors.core.messages.system import Crashed, Shutdown, ToSystem
from ollama_queue.actors.core.messages.wake import Wake
from ollama_queue.actors.core.messages.worker import CallEnded, ChunksReady, ToWorker

ToCronTicker = Wake

__all__ = [
    "Attach",
    "BackendChanged",
    "CallEnded",
    "Cancel",
    "Chunks",
    "ChunksReady",
    "Commit",
    "Count",
    "Crashed",
    "Delete",
    "Deny",
    "Describe",
    "Drain",
    "Explain",
    "Farewell",
    "Fetch",
    "Fetched",
    "Finished",
    "Get",
    "GetSpec",
    "Pause",
    "Probed",
    "Publish",
    "Query",
    "Recover",
    "Reprioritize",
    "Resume",
    "Retry",
    "Scanned",
    "Shutdown",
    "Submit",
    "Subscribe",
    "Synced",
    "ToCronTicker",
    "ToEventBus",
    "ToPersistence",
    "ToProber",
    "ToScheduler",
    "ToSystem",
    "ToWorker",
    "Unsubscribe",
    "Wake",
    "WorkerLost",
]
