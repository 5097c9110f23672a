"""The election of the server that leads, over rows of PostgreSQL. Loaded only for such a queue."""
