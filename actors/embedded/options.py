"""The keyword options of `QueueManager`, which are short names for settings."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from typing import Any, Literal, TypedDict

from msgspec import Struct
from msgspec.structs import asdict

from ..core.config.config import Config, RetrySettings
from ..core.intake import arguments
from ..core.model.errors import Invalid
from ..settings import settings

LOG_OPTIONS = frozenset({"log_level", "log_file"})


class RetryOptions(TypedDict, total=False):
    """How failed calls are retried. Durations are seconds or strings such as "30s"."""

    max_retries: int
    initial_delay: float | str
    max_delay: float | str
    backoff_factor: float


class Options(TypedDict, total=False):
    """The options. Durations are seconds or strings such as "5m". None means the default."""

    ollama_host: str | None
    ollama_timeout: float | str | None
    max_workers: int | None
    storage: str | None
    storage_path: str | PathLike[str] | None
    max_queue_size: int | None
    durability: Literal["strict", "relaxed"] | None
    cleanup_interval: float | str | None
    max_completed_tasks: int | None
    scheduling_interval: float | str | None
    retry_config: RetryOptions | RetrySettings
    log_level: Literal["debug", "info", "warning", "error"] | None
    log_file: str | PathLike[str] | None


_KEYS = {
    "ollama_host": "ollama.host",
    "ollama_timeout": "ollama.timeout",
    "max_workers": "queue.max_workers",
    "storage": "queue.storage",
    "storage_path": "queue.storage_path",
    "max_queue_size": "queue.max_queue_size",
    "durability": "queue.durability",
    "cleanup_interval": "queue.cleanup_interval",
    "max_completed_tasks": "queue.max_completed_tasks",
    "scheduling_interval": "scheduler.scheduling_interval",
    "log_level": "logging.level",
    "log_file": "logging.file",
}
_NAMES = {key: name for name, key in _KEYS.items()}


def config_of(options: Mapping[str, Any]) -> Config:
    """Convert options to a `Config`. Raises `Invalid`, naming the wrong option."""
    flags: dict[str, Any] = {}
    for name, value in options.items():
        if name == "retry_config":
            flags |= _retry(value)
        elif name in _KEYS:
            flags[_KEYS[name]] = value
        else:
            known = ", ".join([*_KEYS, "retry_config"])
            raise Invalid(f"{name} is not an option; the options are {known}", field=name)
    with arguments.reading("options"), _in_our_names():
        return settings.load(None, {}, flags)


@contextmanager
def _in_our_names() -> Iterator[None]:
    """Make errors name the option instead of the setting and the command-line flags."""
    try:
        yield
    except Invalid as error:
        message = error.message.removeprefix(f"{settings.FLAGS}: ")
        name = _NAMES.get(error.field or "")
        if name is not None:
            message = message.replace(error.field or "", name, 1)
        raise Invalid(message, field=name or error.field) from None


def _retry(value: Any) -> dict[str, Any]:
    fields = asdict(value) if issubclass(type(value), Struct) else value
    fields = arguments.mapping(fields, "retry_config", "a group of settings")
    return {f"retry_config.{key}": each for key, each in fields.items()}
