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
def filter_query(context: Any, query: Any) -> bool:
    """Leave out wrong values that no URL can carry: the request would be the one without them."""
    return not any(value is None or value in ([], {}) for value in (query or {}).values())


@schemathesis.hook
def map_case(context: Any, case: Any) -> Any:
    meta = case.meta
    if meta is not None and meta.phase.name == "stateful" and meta.generation.mode == "positive":
        case.body = BODIES.get(case.operation.label, case.body)
    return case
