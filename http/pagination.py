"""Lists on the wire: a filter as the query of a URL, a page as a body and its headers."""

import re
from collections.abc import Mapping
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec

from ..actors.core.model.task_filter import TaskFilter, TaskPage
from ..actors.core.model.tasks import Task

TOTAL = "X-Total-Count"

_PLAIN = TaskFilter()


def query_of(task_filter: TaskFilter) -> dict[str, list[str]]:
    """The parameters that say something, each with its values."""
    query = {}
    for name in TaskFilter.__struct_fields__:
        value = getattr(task_filter, name)
        if value != getattr(_PLAIN, name):
            values = value if isinstance(value, list) else [value]
            query[name] = [str(msgspec.to_builtins(each)) for each in values]
    return query


def headers_of(task_filter: TaskFilter, page: TaskPage) -> dict[str, str]:
    """What is said of a page beside its tasks."""
    headers = {}
    if page.cursor is not None:
        following = msgspec.structs.replace(task_filter, offset=0, cursor=page.cursor)
        query = urlencode(query_of(following), doseq=True)
        headers["Link"] = f'<?{query}>; rel="next"'  # a proxy may have taken off a prefix
    if page.total is not None:
        headers[TOTAL] = str(page.total)
    return headers


def page_of(tasks: list[Task], headers: Mapping[str, str]) -> TaskPage:
    """A page, as its body and headers say."""
    link = re.search(r'<([^>]*)>; rel="next"', headers.get("Link", ""))
    query = parse_qs(urlsplit(link[1]).query) if link else {}
    total = headers.get(TOTAL)
    return TaskPage(tasks, query.get("cursor", [None])[0], int(total) if total else None)
