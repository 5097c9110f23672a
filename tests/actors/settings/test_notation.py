"""Durations, sizes and hosts in all the forms that people write."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_queue.actors.core.model.errors import Invalid
from ollama_queue.actors.settings.notation import (
    parse_duration,
    parse_ollama_host,
    parse_size,
    write_duration,
    write_size,
)


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
        (timedelta(minutes=1, milliseconds=500), 60.5),
    ],
)
def test_durations(written, seconds):
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        *("", "soon", "-1", "5M", "5 minutes", "m5", "1e3", "nan", "9" * 400),
        *(-1, True, None, float("inf"), timedelta(-1), []),
    ],
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
        ("gpu:", "http://gpu:11434"),
        ("'1.2.3.4'", "http://1.2.3.4:11434"),
        ("http://", "http://127.0.0.1:80"),
        ("http://:1", "http://127.0.0.1:1"),
        ("https://[::1]", "https://[::1]:443"),
        ("[0001:002:003:0004::1]:56789/path/", "http://[1:2:3:4::1]:56789/path"),
        ("gpu-1_a.local", "http://gpu-1_a.local:11434"),
        ("ollama.com", "https://ollama.com:443"),
        ("http://ollama.com", "http://ollama.com:80"),
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


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0"),
        (0.5, "0.5"),
        (1, "1s"),
        (90, "90s"),
        (5400, "90m"),
        (604800, "7d"),
        (1e-5, "0.00001"),
    ],
)
def test_a_duration_is_written_in_its_largest_whole_unit(seconds, written):
    assert write_duration(seconds) == written


@pytest.mark.parametrize(
    ("size", "written"), [(0, "0"), (1000, "1000"), (1 << 10, "1KiB"), (3 << 20, "3MiB")]
)
def test_a_size_is_written_in_its_largest_whole_unit(size, written):
    assert write_size(size) == written


@given(st.floats(0, 1e12), st.integers(0, 1 << 60))
def test_what_is_written_is_read_back(seconds, size):
    assert parse_duration(write_duration(seconds)) == seconds
    assert parse_size(write_size(size)) == size
