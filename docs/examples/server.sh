# Ways to start a server. Each runs until Ctrl-C: use one of them.

# On this machine only, on port 7125, with its tasks in ./data
ollama-queue-server

# For the network, on another port
ollama-queue-server --host 0.0.0.0 --port 9090

# With its tasks in another folder
ollama-queue-server --data-dir ./my-queue-data

# In front of an Ollama on another machine
ollama-queue-server --ollama-host http://192.168.1.100:11434

# With verbose logging
ollama-queue-server --verbose

# With settings from a file
ollama-queue-server --config config.yaml
