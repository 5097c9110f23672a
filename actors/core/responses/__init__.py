"""OpenAI's responses: their requests as chat completions, and chat completions as responses."""
