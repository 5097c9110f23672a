"""Durations, sizes and hosts in all the forms that people write."""

import pytest

from ollama_queue.actors.core.errors import Invalid
from ollama_queue.actors.settings import parse_duration, parse_ollama_host, parse_size


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("500ms", 0.5),
        ("5m", 300),
        ("1h30m", 5400),
        ("1m30s", 90),
        ("1.5h", 5400),
        ("1h 30m", 5400),
        ("7d", 604800),
        ("30", 30),
        ("0.25", 0.25),
        (0.5, 0.5),
        (30, 30),
        (0, 0),
    ],
)
def test_durations(written, seconds):
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written", ["", "soon", "-1", -1, "5M", "5 minutes", "m5", True, None, float("inf"), "9" * 400]
)
def test_what_is_no_duration(written):
    with pytest.raises(Invalid, match="is not a duration: write 500ms, 30s, 1h30m, 7d or seconds"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("32MiB", 32 << 20),
        ("4GiB", 4 << 30),
        ("1TiB", 1 << 40),
        ("64KB", 64_000),
        ("1.5 mib", 3 << 19),
        ("10b", 10),
        ("10", 10),
        (10, 10),
    ],
)
def test_sizes(written, size):
    assert parse_size(written) == size


@pytest.mark.parametrize("written", ["", "big", "5x", "5ib", "-5", 1.5, True, None])
def test_what_is_no_size(written):
    with pytest.raises(Invalid, match="is not a size: write 64KB, 32MiB, 4GiB"):
        parse_size(written)


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("gpu", "http://gpu:11434"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        ("gpu.example.com:8080", "http://gpu.example.com:8080"),
        (":56789", "http://127.0.0.1:56789"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:80", "http://[::1]:80"),
        ("[::]:80", "http://[::1]:80"),
        ("::1", "http://[::1]:11434"),
        ("http://gpu", "http://gpu:80"),
        ("https://gpu", "https://gpu:443"),
        ("HTTPS://gpu:8443", "https://gpu:8443"),
        ("http://0.0.0.0:11434", "http://127.0.0.1:11434"),
        ("gpu/", "http://gpu:11434"),
        ("gpu/ollama", "http://gpu:11434/ollama"),
        ("https://gpu:1/a/b/", "https://gpu:1/a/b"),
        ("http://me:word@gpu:1", "http://me:word@gpu:1"),
        (' "gpu:1" ', "http://gpu:1"),
    ],
)
def test_hosts(written, url):
    assert parse_ollama_host(written) == url
    assert parse_ollama_host(url) == url


@pytest.mark.parametrize(
    "written",
    ["ftp://gpu", "gpu:port", "gpu:0", "gpu:70000", "g p u", "http://[::1", "[gpu]x", "a?b", 80],
)
def test_what_is_no_host(written):
    with pytest.raises(Invalid, match="is not a host: write HOST, HOST:PORT or http://HOST:PORT"):
        parse_ollama_host(written)
