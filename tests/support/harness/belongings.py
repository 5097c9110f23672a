"""One of everything that a tenant can have, for tests that no other one finds any of it."""

import json
import re
from typing import Any, Protocol
from uuid import UUID

import httpx

from ollama_queue.actors.core.model.ids import mint
from tests.support.harness.tenants import ANN

SECRET = "anns-secret"
UNKNOWN = mint(1, 7)


class House(Protocol):
    """A queue with tenants: `queue` is it for its admin."""

    queue: Any

    def client(self, key: str | None) -> httpx.Client: ...


class Belongings:
    """One of everything that Ann can have, each with her secret in it; the queue is paused."""

    def __init__(self, house: House) -> None:
        self.http = house.client(ANN)
        house.queue.pause()
        submitted = house.queue.subscribe(["task_submitted"])
        chat = {"model": "smollm2", "messages": [{"role": "user", "content": SECRET}]}
        self.task = self.made("/api/tasks", {"type": "chat", **chat, "tags": [SECRET]})["task_id"]
        batch = self.made("/api/tasks/batch", [{"type": "chat", **chat}])
        self.batch, self.batch_task = batch["batch_id"], batch["task_ids"][0]
        template = {"type": "chat", **chat}
        cron = {"name": SECRET, "cron_expr": "0 0 1 1 *", "task_template": template}
        self.cron = self.made("/api/cron", cron)["id"]
        line = {"custom_id": SECRET, "method": "POST", "url": "/v1/chat/completions", "body": chat}
        upload = self.http.post(
            "/v1/files",
            data={"purpose": "batch"},
            files={"file": (f"{SECRET}.jsonl", json.dumps(line).encode())},
        )
        self.file = upload.json()["id"]
        job = {"input_file_id": self.file, "endpoint": "/v1/chat/completions"}
        self.job = self.made("/v1/batches", {**job, "completion_window": "24h"})["id"]
        params = {**chat, "max_tokens": 5}
        requests = {"requests": [{"custom_id": SECRET, "params": params}]}
        self.messages = self.made("/v1/messages/batches", requests)["id"]
        response = {"model": "smollm2", "input": SECRET, "background": True}
        self.response = self.made("/v1/responses", response)["id"]
        for _ in range(5):  # those of batches come by themselves
            submitted.get(10)
        submitted.close()

    def made(self, path: str, body: Any) -> Any:
        answer = self.http.post(path, json=body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    @property
    def ids(self) -> list[str]:
        return [str(value) for name, value in vars(self).items() if name != "http"]

    def kept(self) -> Any:
        """What must be the same after all that Bob has tried."""
        tasks = self.http.get("/api/tasks").json()
        crons = self.http.get("/api/cron").json()
        files = self.http.get("/v1/files").json()["data"]
        batches = self.http.get("/v1/batches").json()["data"]
        facts = [(each["id"], each["status"], each["priority"]) for each in tasks]
        return facts, crons, [each["id"] for each in files], [each["id"] for each in batches]


def unknown_like(known: str) -> str:
    """An id of the same form that nothing has."""
    digits = UNKNOWN.replace("-", "")
    before, _, _ = known.rpartition("_") if "_" in known else known.partition("-")
    is_plain = re.fullmatch(r"[0-9a-f]{8}-.*", known) is not None
    return UNKNOWN if is_plain else f"{before}{'_' if '_' in known else '-'}{digits}"


def plain(answer: httpx.Response, *ids: str) -> tuple[int, str]:
    """An answer without the ids in it, and what differs each time."""
    text = answer.text
    for each in ids:
        digits = re.sub("^[a-z]+[_-]|-", "", each)
        for form in (each, digits, str(UUID(digits))):
            text = text.replace(form, "ID")
    return answer.status_code, re.sub(r"req_\w+|\d{4}-\d\d-\d\dT[\d:.]+Z", "", text)
