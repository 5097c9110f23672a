"""Turns what users write into checked records."""
