"""The verbs of a queue, and what `QueueManager`, `Client` and `AsyncClient` share."""
