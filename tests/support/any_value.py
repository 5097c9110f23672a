"""Strategies for any Python value, including ones that misreport themselves or raise on access."""

import math
import uuid
from collections import UserDict, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import MagicMock

from hypothesis import strategies as st

from ollama_queue import Cron, NewTask, Status, Submitted, generate_task


class Odd:
    """Raises on every access."""

    def _raise(self, *_: object) -> Any:
        raise RuntimeError("odd")

    __eq__ = __hash__ = __str__ = __repr__ = __len__ = __iter__ = __bool__ = __int__ = _raise
    __float__ = __index__ = __contains__ = __getitem__ = __lt__ = __le__ = _raise


class OddText(str):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("odd")

    def __hash__(self) -> int:
        raise RuntimeError("odd")

    def __str__(self) -> str:
        raise RuntimeError("odd")


class OddDict(UserDict[Any, Any]):
    def __iter__(self) -> Any:
        raise RuntimeError("odd")


class OddInt(int):
    def __int__(self) -> int:
        raise RuntimeError("odd")

    def __le__(self, other: object) -> bool:
        raise RuntimeError("odd")


ODD_VALUES: list[Callable[[], Any]] = [
    Odd,
    lambda: OddText("a"),
    lambda: OddDict({"a": 1}),
    lambda: OddInt(3),
]
ODD = st.sampled_from(ODD_VALUES)
FIXED: list[Any] = [
    None,
    True,
    False,
    math.nan,
    math.inf,
    -math.inf,
    -0.0,
    -1,
    10**400,
    "",
    "\ud800",
    "a/b",
    "../x",
    "a?b#c%2F",
    "a\r\nb",
    "x" * 5000,
    b"\xff",
    uuid.UUID(int=1),
    Decimal("NaN"),
    datetime(2026, 1, 1),
    datetime.max.replace(tzinfo=UTC),
    timedelta(days=1),
    Status.PENDING,
    Submitted("\ud800", Status.PENDING, None),
    Submitted(5, Status.PENDING, None),  # type: ignore[arg-type]
    generate_task("m", "hi"),
    NewTask(type="x", model=5),  # type: ignore[arg-type]
    NewTask(type="chat", model="m", payload={"messages": [OddDict()]}),  # type: ignore[arg-type]
    {"type": "generate", "model": "m", "prompt": "\ud800"},
    {"type": "generate", "model": "m", "prompt": math.nan},
    {"batch_id": "\ud800"},
    {"status": Odd},
    {5: 6},
    object(),
    object,
    print,
    deque([1]),
    memoryview(b"a"),
    MagicMock(spec=NewTask),
    MagicMock(spec=Cron),
    ["a"],
    [None],
    ("\ud800",),
]


def anything() -> st.SearchStrategy[Any]:
    plain = st.one_of(
        st.sampled_from(FIXED),
        ODD.map(lambda make: make()),
        st.integers(),
        st.floats(),
        st.text(st.characters(), max_size=20),
        st.binary(max_size=5),
        st.just(None).map(lambda _: (each for each in ("a", 5))),
    )
    keys = st.one_of(st.text(max_size=5), st.sampled_from(["limit", "q", "model", "type"]))
    nested = st.recursive(
        plain, lambda each: st.lists(each, max_size=3) | st.dictionaries(keys, each), max_leaves=5
    )
    return plain | nested
