"""The `ollama-queue` command."""

if __name__ != "ollama_queue.cli":
    raise ImportError(f"import ollama_queue.cli, not {__name__}")
