"""Which names mean the same model to Ollama, and which options make it reload a model."""

from collections.abc import Iterable, Sequence

from .limits import FALLBACKS, NAME

# Options of Ollama's runner: another value makes it reload the model
# (Ollama, `needsReload` in server/sched.go).
RUNNER_OPTIONS = frozenset(
    {"num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict"}
)


def model_name(name: str) -> str:
    """The canonical form of names that mean the same model to Ollama, in any case: of `x`,
    `x:latest`, `library/x`, `registry.ollama.ai/library/x:latest`, also behind `https://`.

    As in Ollama, the registry is only a default where a namespace follows, and `library` only
    where no other registry precedes: `registry.ollama.ai/ann/x` is `ann/x`.
    """
    name = name.strip().lower().removesuffix(":latest")
    if "/" not in name:
        return name
    name = name.rpartition("://")[2]
    if name.count("/") == 2:
        name = name.removeprefix("registry.ollama.ai/")
    if name.count("/") == 1:
        name = name.removeprefix("library/")
    return name


def spellings(names: Iterable[str]) -> dict[str, str]:
    """Map canonical names to a server's own spelling of its models, where that differs.

    A name that has two spellings is left out: only the server can tell them apart.
    """
    spelled: dict[str, str] = {}
    twice: set[str] = set()
    for name in names:
        canonical = model_name(name)
        if spelled.setdefault(canonical, name) != name:
            twice.add(canonical)
    return {key: name for key, name in spelled.items() if key != name and key not in twice}


def fallback_fault(model: str, fallbacks: Sequence[str]) -> tuple[int | None, str] | None:
    """What is wrong with the fallbacks of a model: the index of the wrong one (None: their number),
    and what would be right. None if nothing is."""
    if len(fallbacks) > FALLBACKS:
        return None, f"at most {FALLBACKS} models, not {len(fallbacks)}"
    seen = {model_name(model): "a model other than the task's own"}
    for index, name in enumerate(fallbacks):
        if not name.strip() or len(name) > NAME:
            return index, f"a model's name of 1 to {NAME} characters"
        if (canonical := model_name(name)) in seen:
            return index, seen[canonical]
        seen[canonical] = "a model that is not named before"
    return None
