"""The keyword arguments of `chat_task`, `generate_task` and `embed_task`, for type checkers.

`NewTask` documents the queue's own fields; the others are Ollama's.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict

from ..model.tasks import Dialect


class TaskFields(TypedDict, total=False):
    """Fields of any task."""

    priority: int | str
    options: Mapping[str, Any]
    max_retries: int | None
    timeout_s: float | None
    deadline: datetime | str | None
    start_within: float | None
    scheduled_at: datetime | str | None
    backend: str | None
    remote_execution: bool
    tenant: str | None
    tags: Sequence[str]
    metadata: Mapping[str, Any]
    fallback_models: Sequence[str] | None
    traceparent: str | None
    tracestate: str | None
    callback_url: str | None
    dialect: Dialect
    payload: Mapping[str, Any]
    keep_alive: float | str | None
    truncate: bool
    shift: bool


class TalkFields(TaskFields, total=False):
    """Fields of chat and generate tasks."""

    system: str
    format: str | Mapping[str, Any]
    think: bool | str
    prefer_think: bool | str
    stream: bool
    logprobs: bool
    top_logprobs: int


class ChatFields(TalkFields, total=False):
    """Fields of a chat task other than its messages."""

    tools: Sequence[Mapping[str, Any]]
    tool_choice: str | Mapping[str, Any]


class GenerateFields(TalkFields, total=False):
    """Fields of a generate task other than its prompt."""

    suffix: str
    template: str
    context: Sequence[int]
    raw: bool
    images: Sequence[str]


class EmbedFields(TaskFields, total=False):
    """Fields of an embedding task other than its input."""

    dimensions: int
