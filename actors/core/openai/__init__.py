"""OpenAI's API: a task in its words, and what its streams consist of."""
