"""What a request may do: found from its API key, and applied to every verb of the queue."""
