"""The settings as one frozen record, and the rules for their values."""
