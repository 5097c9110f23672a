"""Lists on the wire: a filter as a URL query, a page as a body and headers."""

import re
from collections.abc import Mapping
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec

from ..actors.core.model.task_filter import TaskFilter, TaskPage
from ..actors.core.model.tasks import Task
from .wire import Json

TOTAL = "X-Total-Count"

_PLAIN = TaskFilter()


def query_of(task_filter: TaskFilter) -> dict[str, list[str]]:
    """The filter's parameters that differ from the defaults, each with its values."""
    query = {}
    for name in TaskFilter.__struct_fields__:
        value = getattr(task_filter, name)
        if value != getattr(_PLAIN, name):
            values = value if isinstance(value, list) else [value]
            query[name] = [str(msgspec.to_builtins(each)) for each in values]
    return query


def headers_of(task_filter: TaskFilter, page: TaskPage) -> dict[str, str]:
    """The response headers of a page: the link to the next one, and the total."""
    headers = {}
    if page.cursor is not None:
        following = msgspec.structs.replace(task_filter, offset=0, cursor=page.cursor)
        query = urlencode(query_of(following), doseq=True)
        headers["Link"] = f'<?{query}>; rel="next"'  # relative: a proxy may strip a prefix
    if page.total is not None:
        headers[TOTAL] = str(page.total)
    return headers


def page_of(tasks: list[Task], headers: Mapping[str, str]) -> TaskPage:
    """Build a page from a response's tasks and headers."""
    link = re.search(r'<([^>]*)>; rel="next"', headers.get("Link", ""))
    query = parse_qs(urlsplit(link[1]).query) if link else {}
    total = headers.get(TOTAL)
    return TaskPage(tasks, query.get("cursor", [None])[0], int(total) if total else None)


def page_of_ids(data: list[Json], has_more: bool) -> Json:
    """A page as OpenAI and Anthropic have it, which names the ids of its ends."""
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"data": data, "first_id": first, "last_id": last, "has_more": has_more}
