"""OpenAI's API: requests translated to it, and pieces of its streams."""
