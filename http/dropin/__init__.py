"""Others' APIs: the routes of Ollama and OpenAI."""
