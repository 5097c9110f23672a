"""Requests to a server that does not lead: passed on to the one that does, as they are."""
