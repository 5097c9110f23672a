"""Starts, reboots and stops the actors, and gives callers access to the current ones."""
