"""What the commands share: the session, output, waiting."""
