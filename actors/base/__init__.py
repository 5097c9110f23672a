"""The base of actors: inbox, replies, clock, threads."""
