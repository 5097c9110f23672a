"""Logic shared by `QueueManager`, `Client` and `AsyncClient`, without I/O."""
