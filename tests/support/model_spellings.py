"""Names of models: those that mean one model to Ollama, and those of others."""

from itertools import product

# All of them are qwen3.
SAME = [
    f"{scheme}{place}{name}{tag}"
    for scheme, place, name, tag in product(
        ("", "https://", "http://"),
        ("", "library/", "Library/", "registry.ollama.ai/library/", "Registry.Ollama.AI/library/"),
        ("qwen3", "QWEN3"),
        ("", ":latest", ":LATEST"),
    )
]
# Each with its canonical form.
OTHERS = {
    "qwen3:8B": "qwen3:8b",
    "latest": "latest",
    "Ann/x": "ann/x",
    "registry.ollama.ai/ann/x:latest": "ann/x",
    "registry.ollama.ai/x": "registry.ollama.ai/x",  # no namespace: the registry is one
    "hf.co/ann/x:Q4_K_M": "hf.co/ann/x:q4_k_m",
    "localhost:5000/library/x": "localhost:5000/library/x",  # another registry's library
    "library/library/x": "library/library/x",
    "library/ann/x": "library/ann/x",
    "a/b/c/d": "a/b/c/d",
    "": "",
    " x\t": "x",
}
