"""Entry point of the standalone ollama-queue."""

from ollama_queue.cli.start import main

main()
