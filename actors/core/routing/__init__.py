"""Which model server may run which task."""
