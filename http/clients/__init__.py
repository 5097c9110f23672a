"""`Client` and `AsyncClient`: the queue over HTTP."""
