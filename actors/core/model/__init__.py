"""The nouns: what tasks, crons, events and their parts are, and how they are named."""
