"""Decides which task runs next, and what becomes of each."""
