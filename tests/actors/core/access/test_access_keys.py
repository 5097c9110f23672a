"""Keys: what they may say, who is found, and the book of them."""

from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_queue import Conflict, Invalid, NotFound, QueueFull, Unauthorized
from ollama_queue.actors.core.access.key_book import KeyBook, TenantLimits
from ollama_queue.actors.core.access.keys import digest_of, grant_of
from ollama_queue.actors.core.intake.access_keys import new_key
from ollama_queue.actors.core.model.access_keys import AccessKey, KeyRules, Role
from ollama_queue.http.access.access_control import AccessControl, presented

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD = "oq_" + "g" * 43
ENCODED = urlsafe_b64encode(GOOD.encode()).decode().rstrip("=")
ODD = ["Bearer", "bearer  ", "Basic YTpi", "key.", "key.%%", "key.4pyT", ",,"]


@dataclass(eq=False)
class Asking:
    """What the look-up reads of an exchange."""

    headers: dict[str, str]
    address: str = "10.0.0.1"
    cut_off: Any = None
    caller: Any = field(default=None)


def stored(name: str, **rules: Any) -> AccessKey:
    digest = digest_of(name)
    return AccessKey(name=name, digest=digest, hint=name[:3], created_at=NOW, **rules)


@given(
    st.dictionaries(
        st.sampled_from(["authorization", "x-api-key", "api-key", "sec-websocket-protocol"]),
        st.one_of(
            st.text(st.characters(max_codepoint=255), max_size=200),
            st.sampled_from(ODD),
        ),
    )
)
def test_no_header_of_any_kind_is_let_in_or_breaks_anything(headers: dict[str, str]) -> None:
    control = AccessControl([grant_of("a", digest_of(GOOD), KeyRules())], sleep=lambda _: None)
    exchange: Any = Asking(headers)

    list(presented(exchange))
    with pytest.raises(Unauthorized):
        control.admit(exchange, Role.READER)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {GOOD}"},
        {"authorization": f"bearer   {GOOD} "},
        {"x-api-key": GOOD, "authorization": "Bearer sk-other"},
        {"sec-websocket-protocol": f"ollama-queue, key.{ENCODED}"},
    ],
)  # fmt: skip
def test_a_key_is_found_wherever_a_client_puts_it(headers: dict[str, str]) -> None:
    control = AccessControl([grant_of("a", digest_of(GOOD), KeyRules())])
    exchange: Any = Asking(headers)

    assert control.find(exchange).name == "a"


def test_a_key_has_a_share_of_what_is_open() -> None:
    grants = [grant_of(name, digest_of(name * 43), KeyRules()) for name in "ab"]
    control = AccessControl(grants, most_per_key=2)

    def ask(name: str) -> Any:
        exchange: Any = Asking({"x-api-key": name * 43}, cut_off=lambda: None)
        exchange.caller = control.admit(exchange, Role.READER)
        return exchange

    first, _ = ask("a"), ask("a")
    with pytest.raises(QueueFull, match="the key a has 2 requests, streams and WebSockets open"):
        ask("a")
    ask("b")
    control.leave(first)
    ask("a")


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        ({}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "a", "role": "boss"}, "role"),
        ({"name": "a", "rate": "fast"}, "rate"),
        ({"name": "a", "max_priority": 16}, "max_priority"),
        ({"name": "a", "max_running": 0}, "max_running"),
        ({"name": "a", "max_running": True}, "max_running"),
        ({"name": "a", "role": "admin", "tenant": "t"}, "tenant"),
        ({"name": "a", "role": "reader", "max_waiting": 1}, "max_waiting"),
        ({"name": "a", "models": [""]}, "models[0]"),
        ({"name": "a", "expires_at": "tomorrow"}, "expires_at"),
        ({"name": "a", "digest": "x"}, "digest"),
        ([], "new"),
    ],
)
def test_what_is_wrong_in_a_new_key_is_named(raw: Any, names: str) -> None:
    with pytest.raises(Invalid) as wrong:
        new_key(raw)
    assert names in f"{wrong.value.field} {wrong.value.message}"


def test_the_book_keeps_names_unique_and_the_last_admin() -> None:
    book = KeyBook([grant_of("conf", b"c", KeyRules(role=Role.READER))])
    book.add(stored("ops", role=Role.ADMIN))
    with pytest.raises(Conflict, match="named ops already"):
        book.add(stored("ops"))
    with pytest.raises(Conflict, match="last admin"):
        book.revoke("ops")
    with pytest.raises(Conflict, match="configuration"):
        book.revoke("conf")
    with pytest.raises(NotFound):
        book.rotate("nobody", b"x", "x")
    book.add(stored("ops2", role=Role.ADMIN))
    assert book.revoke("ops").name == "ops"
    assert [info.name for info in book.infos] == ["conf", "ops2"]


def test_the_first_key_is_an_admins() -> None:
    with pytest.raises(Conflict, match="role admin"):
        KeyBook().add(stored("alice"))


def test_of_several_keys_of_a_tenant_the_smallest_limit_holds() -> None:
    book = KeyBook()
    book.restore(
        [
            stored("a", tenant="t", max_running=3, max_waiting=5),
            stored("b", tenant="t", max_running=2, tokens_per_day=9),
            stored("c"),
        ]
    )

    assert book.limits == {"t": TenantLimits(max_running=2, max_waiting=5, tokens_per_day=9)}


def test_patterns_mean_models_as_ollama_names_them() -> None:
    grant = grant_of("a", b"", KeyRules(models=["qwen3", "llama*", "org/*:8b"]))

    allowed = ["qwen3", "qwen3:latest", "QWEN3", "library/qwen3", "llama3.2:1b", "org/x:8b"]
    assert all(map(grant.may_use_model, allowed))
    assert not any(map(grant.may_use_model, ["qwen3:4b", "my-llama", "org/x:70b", ""]))
