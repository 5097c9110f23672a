"""Which model server may run what."""
