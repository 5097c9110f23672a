"""Anthropic's API: its requests as tasks, and their replies as messages and streams of events."""
