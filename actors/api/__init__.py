"""The queue's verbs, and the code that `QueueManager`, `Client` and `AsyncClient` share."""
