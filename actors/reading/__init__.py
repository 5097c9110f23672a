"""Reads of the store: those that take many rows, and what is counted of them."""
