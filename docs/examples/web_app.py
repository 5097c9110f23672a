"""A web application (Flask) that replies at once and leaves the work to the queue.

pip install flask
python docs/examples/web_app.py
curl localhost:3000/chat --json '{"message": "Hello", "model": "qwen3"}'
curl localhost:3000/task/<task-id>
"""

import os
from typing import Any

from flask import Flask, request

from ollama_queue import Client, Invalid, NotFound, QueueError, QueueFull, chat_task

SERVER = os.environ.get("OLLAMA_QUEUE_SERVER", "localhost:7125")
STATUS = {Invalid: 400, NotFound: 404, QueueFull: 429}

app = Flask(__name__)
queue = Client(SERVER)  # shared by all threads


@app.post("/chat")
def chat() -> Any:
    match request.get_json(silent=True):
        case {"message": str(message), "model": str(model)}:
            task_id = queue.submit_task(chat_task(model, [{"role": "user", "content": message}]))
            return {"task_id": task_id, "status": "submitted"}
    return {"error": "the body must be JSON with the strings message and model"}, 400


@app.get("/task/<task_id>")
def task_status(task_id: str) -> Any:
    task = queue.get_task(task_id)
    return {"task_id": task.id, "status": task.status, "result": task.result, "error": task.error}


@app.errorhandler(QueueError)
def refuse(error: QueueError) -> Any:
    return {"error": error.message}, STATUS.get(type(error), 503)


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "3000")))
