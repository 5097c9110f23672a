"""The nouns: tasks, crons, events and their parts, and their names."""
