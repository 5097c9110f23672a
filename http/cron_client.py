"""The verbs of crons, for `Client`."""

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from ollama_queue.actors.core.cron_records import Cron, NewCron
from ollama_queue.actors.core.errors import Invalid, Unavailable
from ollama_queue.actors.core.records import Submitted
from ollama_queue.http import wire

T = TypeVar("T")


class _Added(msgspec.Struct):
    id: str


class CronVerbs:
    """Needs `_request`, which sends one request and raises what is wrong."""

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        raise NotImplementedError

    def add_cron_task(self, new: NewCron | Mapping[str, Any]) -> str:
        return self._ask_cron("POST", wire.CRONS, _Added, new).id

    def list_cron_tasks(self) -> list[Cron]:
        return self._ask_cron("GET", wire.CRONS, list[Cron])

    def get_cron_task(self, cron_id: str) -> Cron:
        return self._ask_cron("GET", _of(cron_id), Cron)

    def update_cron_task(self, cron_id: str, changes: NewCron | Cron | Mapping[str, Any]) -> Cron:
        return self._ask_cron("PUT", _of(cron_id), Cron, changes)

    def remove_cron_task(self, cron_id: str) -> Cron:
        return self._ask_cron("DELETE", _of(cron_id), Cron)

    def enable_cron_task(self, cron_id: str) -> Cron:
        return self._ask_cron("PUT", f"{_of(cron_id)}/enable", Cron)

    def disable_cron_task(self, cron_id: str) -> Cron:
        return self._ask_cron("PUT", f"{_of(cron_id)}/disable", Cron)

    def run_cron_task(self, cron_id: str) -> Submitted:
        return self._ask_cron("POST", f"{_of(cron_id)}/run", Submitted)

    def _ask_cron(self, method: str, path: str, kind: type[T], body: Any = None) -> T:
        try:
            content = b"" if body is None else msgspec.json.encode(body)
        except (TypeError, ValueError, RecursionError) as error:
            raise Invalid(f"the cron cannot be written as JSON: {error}", field="cron") from None
        headers = {"Content-Type": "application/json"}
        response = self._request(method, path, content=content, headers=headers)
        try:
            return msgspec.json.decode(response.content, type=kind)
        except msgspec.DecodeError as error:
            raise Unavailable(f"this is no queue of this version: {error}") from None


def _of(cron_id: str) -> str:
    return f"{wire.CRONS}/{quote(cron_id, safe='')}"
