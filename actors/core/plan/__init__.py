"""Decides which task runs next, and what the end of each attempt means."""
