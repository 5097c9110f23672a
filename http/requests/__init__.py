"""Reads requests, and answers in pieces."""
