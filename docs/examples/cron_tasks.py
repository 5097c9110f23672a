"""Submit a task at nine on every working day."""

import os

from ollama_queue import Client, NewCron, Priority, TaskTemplate, TaskType

SERVER = os.environ.get("OLLAMA_QUEUE_SERVER", "localhost:7125")

report = NewCron(
    name="Sales report",
    cron_expr="0 9 * * 1-5",
    timezone="Europe/Berlin",
    task_template=TaskTemplate(
        type=TaskType.GENERATE,
        model="qwen3",
        priority=Priority.NORMAL,
        payload={
            "prompt": "Sum up what was sold yesterday",
            "system": "You write for busy readers",
        },
    ),
    metadata={"department": "sales", "kind": "report"},
)

with Client(SERVER) as queue:
    print("Cron added:", queue.add_cron_task(report))
    for cron in queue.list_cron_tasks():
        print(f"Cron: {cron.id} - {cron.name} ({cron.cron_expr}), next at {cron.next_run}")
