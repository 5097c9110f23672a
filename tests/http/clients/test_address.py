"""Where clients look for the queue."""

import asyncio

import pytest

from ollama_queue import AsyncClient, Client, Invalid
from ollama_queue.http.clients import address


async def url_of_async_client() -> str:
    async with AsyncClient() as client:
        return client.url


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        (None, address.DEFAULT_SERVER),
        ("", address.DEFAULT_SERVER),
        ("far", "http://far:7125"),
        ("https://far/", "https://far"),
    ],
)
def test_without_an_address_the_environment_says_where(
    variable: str | None, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(address.VARIABLE, raising=False)
    if variable is not None:
        monkeypatch.setenv(address.VARIABLE, variable)

    with Client() as client:
        assert client.url == url
    assert asyncio.run(url_of_async_client()) == url


def test_an_address_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(address.VARIABLE, "far")

    with Client("[::1]") as client:
        assert client.url == "http://[::1]:7125"
    with pytest.raises(Invalid, match="'ftp://x' is not an http"):
        Client("ftp://x")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("::1", "http://[::1]:7125"),
        ("[::1]:80", "http://[::1]:80"),
        ("fd00::1:2", "http://[fd00::1:2]:7125"),
        ("far:80", "http://far:80"),
        (" http://far/queue/ ", "http://far/queue"),
    ],
)
def test_an_address_in_all_its_forms(text: str, url: str) -> None:
    assert address.full(text) == url


@pytest.mark.parametrize(
    "text",
    [*("http://far:abc", "http://[::1", "far:abc", "far:99999", "[::1", "a b", " ", "http://")],
)
def test_what_is_none_is_one_sentence(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        address.full(text)
    assert str(caught.value) == f"{text!r} is not an http(s) URL"
