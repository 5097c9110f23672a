"""Commands of `ollama-queue-server` about the data: backup, restore, verify, export, import."""
