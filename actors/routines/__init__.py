"""What `QueueManager`, `Client` and `AsyncClient` do alike, written once and without I/O."""
