#!/bin/bash
# Settings from the environment: each key of config.yaml has a variable.
export OLLAMA_HOST="http://localhost:11434"
export QUEUE_MAX_WORKERS=6
export QUEUE_STORAGE_PATH="./my-queue-data"
export RETRY_MAX_RETRIES=5
export LOG_LEVEL="warning"

exec ollama-queue-server "$@"
