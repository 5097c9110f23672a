"""Decides; does no I/O, knows no clock, no chance, no thread and no log."""
