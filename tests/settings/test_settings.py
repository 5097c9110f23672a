"""The file, the environment and the flags: who wins, and what is understood."""

from pathlib import Path

import msgspec
import pytest
import yaml

from ollama_queue.actors.core.config import Backend, Config, Logging, Ollama, Queue, Retry, Server
from ollama_queue.actors.settings import ENVIRONMENT, load

EXAMPLE = Path(__file__).resolve().parents[2] / "config.example.yaml"


def keys_of(kind):
    return {field.name: field.type for field in msgspec.structs.fields(kind)}


def test_nothing_given_is_the_defaults():
    assert load(None, {}, {}) == Config()


def test_the_example_names_every_key_with_its_default():
    document = yaml.safe_load(EXAMPLE.read_text())
    sections = keys_of(Config)
    sections.pop("backends")

    assert load(str(EXAMPLE), {}, {}) == Config()
    assert {s: set(keys) for s, keys in document.items()} == {
        section: set(keys_of(kind)) for section, kind in sections.items()
    }


def test_the_backends_of_the_example_load_when_uncommented(read):
    lines = EXAMPLE.read_text().splitlines()
    lines = lines[lines.index("# backends:") :]
    text = "\n".join(line[2:] for line in lines[: lines.index("")])

    assert read(text, {"GPU1_KEY": "secret"}).backends == [
        Backend(name="gpu1", type="openai", url="http://gpu1:8080/v1", api_key="secret", parallel=4)
    ]


def test_every_key_is_read_from_a_file(read):
    config = read("""
server: {host: 0.0.0.0, port: 8000, max_body: 1MiB, max_upload: 2MiB, shutdown_grace: 1m}
ollama: {host: gpu, timeout: 1h30m}
queue: {max_workers: 2, storage_path: /var/q, max_queue_size: 10, max_queue_bytes: 64KB,
        durability: relaxed}
retry_config: {max_retries: 0, initial_delay: 500ms, max_delay: 12h, backoff_factor: 1.5}
logging: {level: DEBUG}
""")

    assert config == Config(
        server=Server(
            host="0.0.0.0", port=8000, max_body=1 << 20, max_upload=2 << 20, shutdown_grace=60
        ),
        ollama=Ollama(host="http://gpu:11434", timeout=5400),
        queue=Queue(
            max_workers=2,
            storage_path="/var/q",
            max_queue_size=10,
            max_queue_bytes=64000,
            durability="relaxed",
        ),
        retry_config=Retry(max_retries=0, initial_delay=0.5, max_delay=43200, backoff_factor=1.5),
        logging=Logging(level="debug"),
    )


def test_every_key_but_backends_has_an_environment_variable():
    environ = {
        "SERVER_HOST": "0.0.0.0",
        "SERVER_PORT": "8000",
        "SERVER_MAX_BODY": "1MiB",
        "SERVER_MAX_UPLOAD": "1MiB",
        "SERVER_SHUTDOWN_GRACE": "0",
        "OLLAMA_HOST": ":1234",
        "OLLAMA_TIMEOUT": "30",
        "QUEUE_MAX_WORKERS": "3",
        "QUEUE_STORAGE_PATH": "/q",
        "QUEUE_MAX_QUEUE_SIZE": "7",
        "QUEUE_MAX_QUEUE_BYTES": "1GiB",
        "QUEUE_DURABILITY": "relaxed",
        "RETRY_MAX_RETRIES": "1",
        "RETRY_INITIAL_DELAY": "2s",
        "RETRY_MAX_DELAY": "1m",
        "RETRY_BACKOFF_FACTOR": "3",
        "LOG_LEVEL": "warning",
    }

    assert set(environ) == set(ENVIRONMENT)
    assert load(None, environ, {}) == Config(
        server=Server(
            host="0.0.0.0", port=8000, max_body=1 << 20, max_upload=1 << 20, shutdown_grace=0
        ),
        ollama=Ollama(host="http://127.0.0.1:1234", timeout=30),
        queue=Queue(
            max_workers=3,
            storage_path="/q",
            max_queue_size=7,
            max_queue_bytes=1 << 30,
            durability="relaxed",
        ),
        retry_config=Retry(max_retries=1, initial_delay=2, max_delay=60, backoff_factor=3),
        logging=Logging(level="warning"),
    )


def test_flags_beat_environment_beats_file(read):
    text = "server: {host: file, port: 1, max_body: 1}"
    environ = {"SERVER_PORT": "2", "SERVER_MAX_BODY": "2", "OTHER": "x"}
    flags = {"server.max_body": 3, "queue.max_workers": None}

    assert read(text, environ, flags).server == Server(host="file", port=2, max_body=3)


def test_an_empty_variable_counts_as_unset(read):
    assert read("server: {port: 1}", {"SERVER_PORT": ""}).server.port == 1


@pytest.mark.parametrize("text", ["", "# nothing\n", "queue:\n", "backends:\nserver: {}\n"])
def test_empty_files_and_sections_change_nothing(read, text):
    assert read(text) == Config()


def test_variables_are_filled_in_everywhere(read):
    text = """
server: {port: "${PORT}"}
queue: {storage_path: "/data/${WHO}/${WHO}"}
backends: [{name: a, url: "http://${WHO}", api_key: "${KEY}"}]
"""
    config = read(text, {"PORT": "81", "WHO": "me", "KEY": "k"})

    assert (config.server.port, config.queue.storage_path) == (81, "/data/me/me")
    assert config.backends == [Backend(name="a", url="http://me", api_key="k")]


def test_a_home_folder_is_found(read, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert read("queue: {storage_path: ~/queue}").queue.storage_path == "/home/me/queue"
