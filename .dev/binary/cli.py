"""What the standalone ollama-queue starts with."""

from ollama_queue.cli.start import main

main()
