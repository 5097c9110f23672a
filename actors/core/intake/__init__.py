"""From what people write to checked records."""
