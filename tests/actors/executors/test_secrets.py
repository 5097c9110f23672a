"""What the server must know and nobody else: keys and passwords stay out of errors and logs."""

import base64
import logging
from typing import Any

import pytest

from ollama_queue.actors.core.config.config import Backend
from ollama_queue.actors.core.model.errors import cut
from ollama_queue.actors.core.model.outcomes import Failed
from ollama_queue.actors.executors import Executor, create_executor
from tests.support.fakes.model_server import Answer, FakeOllama, Stream
from tests.support.harness.executor import run

KEY = 'sk-"quoted"\\secret'
SHORT = "ollama"
LOGIN = base64.b64encode(b"me:open sesame").decode()


def of(fake: FakeOllama, kind: Any, key: str, login: str = "", query: str = "") -> Executor:
    url = (fake.openai_url if kind == "openai" else fake.url) + query
    url = url.replace("//", f"//{login}@") if login else url
    return create_executor(Backend(name="gpu", type=kind, url=url, api_key=key), 5.0)


@pytest.mark.parametrize("kind", ["ollama", "openai"])
@pytest.mark.parametrize(
    ("key", "login", "echo", "shown"),
    [
        (KEY, "", f"Authorization: Bearer {KEY}", "Authorization: [key]"),
        (KEY, "", f"key {KEY} is not known", "key [key] is not known"),
        (KEY, "", {"code": 1, "got": KEY}, '{"code":1,"got":"[key]"}'),
        (KEY, "", "x" * 1990 + KEY, "x" * 1990 + "[key]"),
        (SHORT, "", f"Bearer {SHORT} at ollama", "[key] at ollama"),
        ("", "me:open%20sesame", f"got Basic {LOGIN}, {LOGIN}", "got [key], [key]"),
        ("", "me:open%20sesame", "me may not say open sesame", "me may not say [key]"),
    ],
)
def test_a_server_may_repeat_them(
    fake: FakeOllama,
    kind: str,
    key: str,
    login: str,
    echo: Any,
    shown: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    executor = of(fake, kind, key, login)
    where = f"gpu at {fake.openai_url if kind == 'openai' else fake.url}"
    list_path = "/v1/models" if kind == "openai" else "/api/tags"
    fake.facts[list_path] = Answer(403, {"error": echo})
    fake.script(Answer(403, {"error": echo}), Stream(then="error", error=echo))

    refused, broken, look = run(executor), run(executor), executor.probe()
    executor.close()

    assert isinstance(refused, Failed)
    assert isinstance(broken, Failed)
    assert refused.error == cut(f"{where} answered 403: {shown}", 2000)
    assert broken.error == cut(f"{where} reported an error: {shown}", 2000)
    assert look.error == refused.error
    assert not key or key == SHORT or key not in caplog.text


def test_a_key_may_stand_in_the_query(fake: FakeOllama) -> None:
    fake.facts["/v1/models?key=open%20sesame"] = Answer(403, {"error": "open sesame is no key"})
    executor = of(fake, "openai", "", query="?key=open%20sesame")
    look = executor.probe()
    executor.close()

    assert look.error == f"gpu at {fake.openai_url} answered 403: [key] is no key"


def test_a_key_may_have_any_letters(fake: FakeOllama) -> None:
    executor = of(fake, "openai", " schlüssel ")
    run(executor)
    executor.close()

    assert fake.calls[0].headers["authorization"].encode("latin-1").decode() == "Bearer schlüssel"
