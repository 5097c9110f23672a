"""Which names Ollama takes for the same model, and which options make it load a model anew."""

from collections.abc import Iterable

# Options that belong to Ollama's runner: another value makes it load the model anew
# (Ollama, `needsReload` in server/sched.go).
RUNNER_OPTIONS = frozenset(
    {"num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict"}
)


def model_name(name: str) -> str:
    """The one form of the names that Ollama takes for the same model, whatever their case:
    `x`, `x:latest`, `library/x`, `registry.ollama.ai/library/x:latest`."""
    name = name.strip().lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
    return name.removesuffix(":latest")


def spellings(names: Iterable[str]) -> dict[str, str]:
    """By `model_name` how a server writes its models, where that is another text.

    Two spellings of one name are told apart by the server alone: neither stands here.
    """
    spelled: dict[str, str] = {}
    twice: set[str] = set()
    for name in names:
        canonical = model_name(name)
        if spelled.setdefault(canonical, name) != name:
            twice.add(canonical)
    return {key: name for key, name in spelled.items() if key != name and key not in twice}
