"""Hooks of Schemathesis, which loads this file by its name: what random requests cannot guess.

In sequences of requests, what is submitted is good, so that later requests meet tasks, batches and
crons that there are.
"""

from typing import Any

import schemathesis

TASK = {"type": "generate", "model": "m", "prompt": "hi"}
CRON = {"name": "n", "cron_expr": "@daily", "task_template": TASK}
BODIES: dict[str, Any] = {
    "POST /api/tasks": TASK,
    "POST /api/tasks/batch": [TASK, TASK],
    "POST /api/cron": CRON,
    "POST /api/keys": {"name": "k", "role": "reader"},
    "PUT /api/cron/{id}": {"cron_expr": "@hourly"},
    "POST /api/tasks/{id}/priority": {"priority": "high"},
}


@schemathesis.hook
def map_case(context: Any, case: Any) -> Any:
    meta = case.meta
    if meta is not None and meta.phase.name == "stateful" and meta.generation.mode == "positive":
        case.body = BODIES.get(case.operation.label, case.body)
    return case
