#!/bin/bash
# A tour of the command line. It uses the queue at OLLAMA_QUEUE_SERVER, or on this machine.
set -euo pipefail
cd "$(dirname "$0")"

# Submit: each command prints the id of its task.
ollama-queue submit chat --model qwen3 --messages "user:Hello, how are you?" --priority high
ollama-queue submit generate --model qwen3 --prompt "Write a Python function that sorts a list"
ollama-queue submit embed --model nomic-embed-text --input "one text" --input "and another"

# Wait for the reply, or print it while it is generated.
ollama-queue submit chat --model qwen3 --messages "user:Why is the sky blue?" --wait
ollama-queue submit chat --model qwen3 --messages "user:Tell me a story" --stream

# Batches: return at once, wait for all results, or print JSON for another program.
ollama-queue submit batch --file tasks.json
ollama-queue submit batch --file tasks.json --sync
ollama-queue submit batch --file tasks.json --output json

# Inspect tasks.
task=$(ollama-queue submit chat --model qwen3 --messages "user:Hello" --quiet)
ollama-queue wait "$task"
ollama-queue list
ollama-queue list --status running --status completed --limit 10
ollama-queue status
ollama-queue status "$task"
ollama-queue result "$task"

# Change the priority of waiting tasks, or cancel them: these two are scheduled.
first=$(ollama-queue submit batch --file scheduled.jsonl --quiet)
second=$(ollama-queue submit batch --file scheduled.jsonl --quiet)
ollama-queue priority "$first" high
ollama-queue cancel "$first" "$second"
