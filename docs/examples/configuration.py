"""An embedded queue with all of its options, for a program in production.

Durations are strings, or seconds. Defaults are those of config.example.yaml.
"""

import os

from ollama_queue import QueueManager, chat_task

OLLAMA = os.environ.get("OLLAMA_HOST", "http://localhost:11434")

with QueueManager(
    # the model server; a call fails after this time without a byte
    ollama_host=OLLAMA,
    ollama_timeout="5m",
    # the queue; the newest 1000 finished tasks are kept
    max_workers=8,
    storage_path="./my_app_queue",
    cleanup_interval="1h",
    max_completed_tasks=1000,
    scheduling_interval="1s",  # accepted, without effect: the queue does not poll
    # for calls that failed but may succeed later
    retry_config={
        "max_retries": 3,
        "initial_delay": "1s",
        "max_delay": "30s",
        "backoff_factor": 2.0,
    },
    # the log
    log_level="info",
    log_file="./logs/queue.log",
) as queue:
    question = chat_task("qwen3", [{"role": "user", "content": "Hello, how are you?"}])
    answer = queue.wait(queue.submit_task(question), timeout=300)
    print(answer.result["message"]["content"] if answer.result else answer.error)
    print("Workers:", queue.get_queue_stats().workers_idle)
