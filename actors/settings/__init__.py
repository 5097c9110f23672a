"""Reads file, environment and flags into a `Config`."""
