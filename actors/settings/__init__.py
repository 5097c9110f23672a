"""From file, environment and flags to a `Config`."""
