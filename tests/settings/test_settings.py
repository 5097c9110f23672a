"""The file, the environment and the flags: who wins, what is understood, what is said."""

from pathlib import Path

import msgspec
import pytest
import yaml

from ollama_queue.actors.core.config import Backend, Config, Logging, Ollama, Queue, Retry, Server
from ollama_queue.actors.core.errors import Invalid
from ollama_queue.actors.settings import ENVIRONMENT, load

EXAMPLE = Path(__file__).resolve().parents[2] / "config.example.yaml"


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Load a `config.yaml` with this text."""
    monkeypatch.chdir(tmp_path)

    def read(text, environ=None, flags=None):
        (tmp_path / "config.yaml").write_text(text)
        return load("config.yaml", environ or {}, flags or {})

    return read


@pytest.fixture
def refused(read):
    """The sentence that a `config.yaml` with this text is refused with."""

    def refused(text, environ=None, flags=None):
        with pytest.raises(Invalid) as caught:
            read(text, environ, flags)
        assert "\n" not in caught.value.message
        return caught.value.message

    return refused


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
server: {host: 0.0.0.0, port: 8000, max_body: 1MiB, shutdown_grace: 1m}
ollama: {host: gpu, timeout: 1h30m}
queue: {max_workers: 2, storage_path: /var/q, max_queue_size: 10, max_queue_bytes: 64KB,
        durability: relaxed}
retry_config: {max_retries: 0, initial_delay: 500ms, max_delay: 7d, backoff_factor: 1.5}
logging: {level: DEBUG}
""")

    assert config == Config(
        server=Server(host="0.0.0.0", port=8000, max_body=1 << 20, shutdown_grace=60),
        ollama=Ollama(host="http://gpu:11434", timeout=5400),
        queue=Queue(
            max_workers=2,
            storage_path="/var/q",
            max_queue_size=10,
            max_queue_bytes=64000,
            durability="relaxed",
        ),
        retry_config=Retry(max_retries=0, initial_delay=0.5, max_delay=604800, backoff_factor=1.5),
        logging=Logging(level="debug"),
    )


def test_every_key_but_backends_has_an_environment_variable():
    environ = {
        "SERVER_HOST": "0.0.0.0",
        "SERVER_PORT": "8000",
        "SERVER_MAX_BODY": "1MiB",
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
        server=Server(host="0.0.0.0", port=8000, max_body=1 << 20, shutdown_grace=0),
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


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "queue: {max_wrokers: 4}",
            "config.yaml: queue.max_wrokers is not a setting: did you mean queue.max_workers?",
        ),
        (
            "retry: {max_retries: 4}",
            "config.yaml: retry.max_retries is not a setting: "
            "did you mean retry_config.max_retries?",
        ),
        (
            "max_workers: 4",
            "config.yaml: max_workers is not a setting: did you mean queue.max_workers?",
        ),
        (
            "zzz: 4",
            "config.yaml: zzz is not a setting: "
            "there are server, ollama, queue, retry_config, logging, backends",
        ),
        (
            "logging: {zzzzzzzzzzzz: 4}",
            "config.yaml: logging.zzzzzzzzzzzz is not a setting: there are logging.level",
        ),
        ("1: 2", "config.yaml: 1 is not a setting: "),
        ("queue: 4", "config.yaml: queue must be a group of settings"),
        ("backends: 4", "config.yaml: backends must be a list"),
        ("backends: [4]", "config.yaml: backends[0] must be a group with a name and a url"),
        ("backends: [{name: a}]", "config.yaml: backends[0].url is missing"),
        (
            "backends: [{name: a, uri: b}]",
            "config.yaml: backends[0].uri is not a setting: did you mean backends[0].url?",
        ),
        (
            "backends: [{name: a, url: 'http://b', type: llama}]",
            "config.yaml: backends[0].type: 'llama' is not one of ollama, openai",
        ),
        (
            "backends: [{name: a, url: b}]",
            "config.yaml: backends.url must be an http(s) URL",
        ),
        (
            "queue: {max_workers: many}",
            "config.yaml: queue.max_workers: 'many' is not a whole number",
        ),
        ("server: {port: 80.5}", "config.yaml: server.port: 80.5 is not a whole number"),
        ("server: {port: yes}", "config.yaml: server.port: True is not a whole number"),
        ("server: {host: 7}", "config.yaml: server.host: 7 is not a text"),
        (
            "retry_config: {backoff_factor: [2]}",
            "config.yaml: retry_config.backoff_factor: [2] is not a number",
        ),
        ("queue: {max_workers: 0}", "config.yaml: queue.max_workers must be 1 to 1024"),
        (
            "retry_config: {initial_delay: 60}",
            "config.yaml: retry_config.max_delay must be no less than retry_config.initial_delay",
        ),
        (
            "logging: {level: verbose}",
            "config.yaml: logging.level: 'verbose' is not one of debug, info, warning, error",
        ),
        (
            "ollama: {timeout: soon}",
            "config.yaml: ollama.timeout: 'soon' is not a duration: "
            "write 500ms, 30s, 1h30m, 7d or seconds",
        ),
        (
            "server: {max_body: 32 apples}",
            "config.yaml: server.max_body: '32 apples' is not a size: "
            "write 64KB, 32MiB, 4GiB or a number of bytes",
        ),
        (
            "ollama: {host: 'ftp://x'}",
            "config.yaml: ollama.host: 'ftp://x' is not a host: "
            "write HOST, HOST:PORT or http://HOST:PORT",
        ),
        (
            "backends: [{name: a, api_key: '${KEY}'}]",
            "config.yaml: backends[0].api_key: the environment variable KEY is not set",
        ),
        (
            "queue: {storage_path: '${A-B}'}",
            "config.yaml: queue.storage_path: ${A-B} is not a variable's name",
        ),
        ("[]", "config.yaml must hold sections: server, ollama, queue, retry_config, logging"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_in_one_line(refused, text, sentence):
    assert refused(text).startswith(sentence)


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "\ta: 1", "a: \x00", "a: !!python/name:os.x"])
def test_a_file_that_is_not_yaml_is_refused(refused, text):
    assert refused(text).startswith("config.yaml is not YAML: ")


def test_a_number_as_api_key_is_not_shown(refused):
    sentence = refused("backends: [{name: a, url: 'http://b', api_key: 12345}]")
    assert sentence == "config.yaml: backends[0].api_key: must be a text, in quotes"


@pytest.mark.parametrize("host", ["http://me:secret@gpu:port", "me:secret@g p u"])
def test_a_password_in_a_host_is_not_shown(refused, host):
    assert "secret" not in refused(f"ollama: {{host: '{host}'}}")


@pytest.mark.parametrize(
    "text",
    [
        "scheduler: {batch_size: 10}",
        "scheduler: {scheduling_interval: 1s}",
        "queue: {cleanup_interval: 1h}",
        "queue: {max_completed_tasks: 1000}",
        "logging: {file: a.log}",
    ],
)
def test_what_comes_later_is_not_ignored_in_silence(refused, text):
    key = ".".join(next((section, *keys) for section, keys in yaml.safe_load(text).items()))
    assert refused(text) == f"config.yaml: {key} is not supported yet: remove it"


def test_wrong_variables_and_flags_are_named(refused):
    assert (
        refused("", {"QUEUE_MAX_WORKERS": "many"})
        == "environment variable QUEUE_MAX_WORKERS: queue.max_workers: 'many' is not a whole number"
    )
    assert (
        refused("", {"SERVER_PORT": "99999"})
        == "environment variable SERVER_PORT: server.port must be 0 to 65535"
    )
    assert (
        refused("server: {port: 1}", {}, {"server.port": "x"})
        == "command line: server.port: 'x' is not a whole number"
    )
    assert "did you mean server.port?" in refused("", {}, {"server.prot": 1})


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(Invalid, match=r"gone\.yaml cannot be read: No such file"):
        load(str(tmp_path / "gone.yaml"), {}, {})
    with pytest.raises(Invalid, match="cannot be read: Is a directory"):
        load(str(tmp_path), {}, {})
