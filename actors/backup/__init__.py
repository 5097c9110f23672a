"""Backups, exports and checks of a store that is closed, or of a copy of an open one."""
