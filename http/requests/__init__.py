"""Reads requests and streams responses."""
