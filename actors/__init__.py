"""The complete queue: its pure core, its actors, and the embedded `QueueManager`."""

if __name__ != "ollama_queue.actors":
    raise ImportError(f"import ollama_queue.actors, not {__name__}")
