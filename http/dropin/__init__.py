"""Drop-in APIs: the routes of Ollama and OpenAI."""
