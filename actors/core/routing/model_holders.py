"""Which model servers have a model, for calls that are not tasks: lists, `show`, loading."""

from collections.abc import Iterable

from ..model.model_names import model_name
from ..model.stats import BackendState


def holders(backends: Iterable[BackendState], model: str) -> list[BackendState]:
    """Backends that have the model, or may have it as they list none, healthy or not."""
    name = model_name(model)
    return [each for each in backends if each.models is None or name in names_of(each.models)]


def names_of(models: Iterable[str]) -> frozenset[str]:
    """Canonical forms of names as a server spells them."""
    return frozenset(map(model_name, models))


def ollamas(backends: Iterable[BackendState]) -> list[BackendState]:
    """The healthy Ollama servers."""
    return [each for each in backends if each.type == "ollama" and each.healthy]


def best_first(backends: Iterable[BackendState], model: str) -> list[BackendState]:
    """Sort backends by preference for loading a model.

    Drained ones come last; then local ones first, those that have it loaded, the higher
    `priority`, and the order of the settings.
    """
    name = model_name(model)
    return sorted(
        backends,
        key=lambda each: (
            each.drained,
            each.remote,
            name not in names_of(each.loaded),
            -each.priority,
        ),
    )


def oldest_version(backends: Iterable[BackendState]) -> str | None:
    """The lowest version of the healthy Ollama servers; None if unknown."""
    known = {each.version for each in ollamas(backends) if each.version}
    return min(known, key=_numbers, default=None)


def _numbers(version: str) -> list[int]:
    """The numbers of a version: `0.12.3-rc1` is 0, 12, 3."""
    parts = version.partition("-")[0].split(".")
    return [int(part) if part.isascii() and part.isdigit() else 0 for part in parts]
