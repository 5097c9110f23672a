"""The file, the environment and the flags: who wins, and what is understood."""

from pathlib import Path

import msgspec
import pytest
import yaml

from ollama_queue.actors.core.config.config import (
    Backend,
    CallbackSettings,
    Config,
    Endpoint,
    FleetSettings,
    LoggingSettings,
    ModelSettings,
    OllamaSettings,
    ProxySettings,
    QueueSettings,
    RemoteScheduling,
    RetrySettings,
    SchedulerSettings,
    ServerSettings,
    Webhook,
)
from ollama_queue.actors.core.config.config import Path as Path_
from ollama_queue.actors.core.model.errors import Invalid
from ollama_queue.actors.settings import settings
from ollama_queue.actors.settings.settings import ENVIRONMENT, load, trace
from ollama_queue.actors.settings.value_types import KEYS, plain
from ollama_queue.http.serving.check_config import listing

SECRET = "whsec_" + "QUJD" * 8
EXAMPLE = Path(__file__).resolve().parents[3] / "config.example.yaml"


def keys_of(kind):
    return {field.name: field.type for field in msgspec.structs.fields(kind)}


def test_nothing_given_is_the_defaults():
    assert load(None, {}, {}) == Config()


def test_the_example_names_every_key_with_its_default():
    document = yaml.safe_load(EXAMPLE.read_text())
    sections = keys_of(Config)
    del sections["backends"], sections["models"], sections["webhooks"]
    assert document.pop("webhooks") == []

    assert load(str(EXAMPLE), {}, {}) == Config()
    assert {s: set(keys) for s, keys in document.items()} == {
        section: set(keys_of(kind)) for section, kind in sections.items()
    }


def uncommented(first):
    """The lines of the example from a comment that begins so, as YAML."""
    lines = EXAMPLE.read_text().splitlines()
    lines = lines[lines.index(f"# {first}:") :]
    return "\n".join(line[2:] for line in lines[: lines.index("")])


def test_the_backends_of_the_example_load_when_uncommented(read):
    text = uncommented("backends")

    assert read(text, {"GPU1_KEY": "secret"}).backends == [
        Backend(
            name="gpu1",
            type="openai",
            url="http://gpu1:8080/v1",
            api_key="secret",
            parallel=4,
            priority=10,
            tags=["fast"],
            models=["qwen3"],
            remote=False,
        )
    ]
    assert set(yaml.safe_load(text)["backends"][0]) == set(keys_of(Backend))


def test_the_endpoints_of_the_example_load_when_uncommented(read):
    text = uncommented("endpoints")
    section = {"remote_scheduling": yaml.safe_load(text)}

    assert read(yaml.safe_dump(section), {"OPENAI_API_KEY": "k"}).remote_scheduling.endpoints == [
        Endpoint(name="OpenAI", base_url="https://api.example.com/v1", api_key="k", priority=10)
    ]
    assert set(section["remote_scheduling"]["endpoints"][0]) == set(keys_of(Endpoint))


def test_the_models_of_the_example_load_when_uncommented(read):
    text = uncommented("models")

    assert read(text).models == {
        "qwen3:32b": ModelSettings(fallback=["qwen3:8b", "qwen3:1.7b"], after=30.0, keep=["ollama"])
    }
    assert set(yaml.safe_load(text)["models"]["qwen3:32b"]) == set(keys_of(ModelSettings))


def test_the_webhooks_of_the_example_load_when_uncommented(read):
    text = uncommented("webhooks")

    assert read(text, {"WEBHOOK_SECRET": SECRET}).webhooks == [
        Webhook(
            name="ops",
            url="https://ops.example.com/hooks/queue",
            secret=SECRET,
            events=["task_failed", "backend_changed"],
        )
    ]
    assert set(yaml.safe_load(text)["webhooks"][0]) == set(keys_of(Webhook))


ALL = Config(
    server=ServerSettings(
        host="0.0.0.0",
        port=8000,
        max_body=1 << 20,
        max_upload=2 << 20,
        max_file=3 << 20,
        shutdown_grace=60,
        tls_cert="/c.pem",
        tls_key="/k.pem",
        cors_origins=["https://a"],
        allowed_hosts=["a.example"],
        base_path="/queue",
        trusted_proxies=["10.0.0.0/8"],
        max_per_address=9,
    ),
    ollama=OllamaSettings(host="http://gpu:11434", timeout=5400, origins=["*"]),
    queue=QueueSettings(
        max_workers=2,
        storage_path="/var/q",
        cleanup_interval=60,
        max_completed_tasks=0,
        retention=None,
        file_retention=3600,
        audit_retention=7200,
        max_queue_size=10,
        max_queue_bytes=64000,
        durability="relaxed",
    ),
    fleet=FleetSettings(url="http://10.0.0.5:7125", ttl=2),
    scheduler=SchedulerSettings(
        batch_size=1,
        scheduling_interval=0.5,
        policy="affinity",
        affinity_max_wait=0,
        aging=600,
        fair=True,
        model_wait=1,
        max_rest=20,
    ),
    retry_config=RetrySettings(
        max_retries=0, initial_delay=0.5, max_delay=43200, backoff_factor=1.5
    ),
    remote_scheduling=RemoteScheduling(
        enabled=True,
        health_check_interval=90,
        fallback_to_local=False,
        local_first_policy=False,
        max_local_queue_size=0,
        after=5,
    ),
    proxy=ProxySettings(admin=True),
    callbacks=CallbackSettings(secret=SECRET, allowed_networks=["10.0.0.0/8"]),
    logging=LoggingSettings(level="debug", file="/var/log/q.log", format="json"),
)


def test_every_key_is_read_from_a_file(read):
    text = """
server: {host: 0.0.0.0, port: 8000, max_body: 1MiB, max_upload: 2MiB, max_file: 3MiB,
  shutdown_grace: 1m, tls_cert: /c.pem, tls_key: /k.pem, cors_origins: ['https://a'],
  allowed_hosts: [a.example], base_path: /queue, trusted_proxies: [10.0.0.0/8], max_per_address: 9}
ollama: {host: gpu, timeout: 1h30m, origins: ['*']}
queue: {max_workers: 2, storage: null, storage_path: /var/q, cleanup_interval: 1m,
        max_completed_tasks: 0, retention: null, file_retention: 1h, audit_retention: 2h,
        max_queue_size: 10, max_queue_bytes: 64KB, durability: relaxed}
fleet: {url: "http://10.0.0.5:7125", ttl: 2s}
scheduler: {batch_size: 1, scheduling_interval: 500ms, policy: Affinity, affinity_max_wait: 0,
            aging: 10m, fair: true, model_wait: 1, max_rest: 20s}
retry_config: {max_retries: 0, initial_delay: 500ms, max_delay: 12h, backoff_factor: 1.5}
remote_scheduling: {enabled: yes, health_check_interval: 1m30s, fallback_to_local: no,
                    local_first_policy: off, max_local_queue_size: 0, after: 5,
                    endpoints: []}
proxy: {admin: yes}
auth: {keys: [], required: no}
callbacks: {secret: %s, allowed_networks: [10.0.0.0/8]}
logging: {level: DEBUG, file: /var/log/q.log, format: json}
""".replace("%s", SECRET)
    assert {f"{s}.{name}" for s, keys in yaml.safe_load(text).items() for name in keys} == {
        key for key in KEYS if key not in ("backends", "models", "webhooks")
    }
    assert read(text) == ALL


def test_every_key_but_lists_of_groups_has_an_environment_variable():
    environ = {
        "SERVER_HOST": "0.0.0.0",
        "SERVER_PORT": "8000",
        "SERVER_MAX_BODY": "1MiB",
        "SERVER_MAX_UPLOAD": "2MiB",
        "SERVER_MAX_FILE": "3MiB",
        "SERVER_SHUTDOWN_GRACE": "60",
        "SERVER_TLS_CERT": "/c.pem",
        "SERVER_TLS_KEY": "/k.pem",
        "OLLAMA_HOST": "gpu",
        "SERVER_CORS_ORIGINS": "https://a",
        "SERVER_ALLOWED_HOSTS": "a.example",
        "SERVER_BASE_PATH": "/queue",
        "SERVER_TRUSTED_PROXIES": "10.0.0.0/8",
        "SERVER_MAX_PER_ADDRESS": "9",
        "OLLAMA_TIMEOUT": "1h30m",
        "OLLAMA_ORIGINS": "*",
        "QUEUE_MAX_WORKERS": "2",
        "QUEUE_STORAGE": "null",
        "QUEUE_STORAGE_PATH": "/var/q",
        "QUEUE_CLEANUP_INTERVAL": "1m",
        "QUEUE_MAX_COMPLETED_TASKS": "0",
        "QUEUE_RETENTION": "null",
        "QUEUE_MAX_QUEUE_SIZE": "10",
        "QUEUE_MAX_QUEUE_BYTES": "64KB",
        "QUEUE_DURABILITY": "relaxed",
        "QUEUE_FILE_RETENTION": "1h",
        "QUEUE_AUDIT_RETENTION": "2h",
        "FLEET_URL": "http://10.0.0.5:7125",
        "FLEET_TTL": "2",
        "SCHEDULER_BATCH_SIZE": "1",
        "SCHEDULER_SCHEDULING_INTERVAL": "0.5",
        "SCHEDULER_POLICY": "affinity",
        "SCHEDULER_AFFINITY_MAX_WAIT": "0",
        "SCHEDULER_AGING": "10m",
        "SCHEDULER_FAIR": "true",
        "SCHEDULER_MODEL_WAIT": "1s",
        "SCHEDULER_MAX_REST": "20",
        "CALLBACKS_SECRET": SECRET,
        "CALLBACKS_ALLOWED_NETWORKS": "10.0.0.0/8",
        "RETRY_MAX_RETRIES": "0",
        "RETRY_INITIAL_DELAY": "500ms",
        "RETRY_MAX_DELAY": "12h",
        "RETRY_BACKOFF_FACTOR": "1.5",
        "REMOTE_SCHEDULING_ENABLED": "1",
        "REMOTE_SCHEDULING_HEALTH_CHECK_INTERVAL": "90",
        "REMOTE_SCHEDULING_FALLBACK_TO_LOCAL": "false",
        "REMOTE_SCHEDULING_LOCAL_FIRST_POLICY": "False",
        "REMOTE_SCHEDULING_MAX_LOCAL_QUEUE_SIZE": "0",
        "REMOTE_SCHEDULING_AFTER": "5s",
        "AUTH_REQUIRED": "false",
        "PROXY_ADMIN": "true",
        "LOG_LEVEL": "debug",
        "LOG_FILE": "/var/log/q.log",
        "LOG_FORMAT": "json",
    }

    assert set(environ) == set(ENVIRONMENT)
    assert load(None, environ, {}) == ALL


def test_flags_beat_environment_beats_file(read):
    text = "server: {host: file, port: 1, max_body: 1}"
    environ = {"SERVER_PORT": "2", "SERVER_MAX_BODY": "2", "OTHER": "x"}
    flags = {"server.max_body": 3, "queue.max_workers": None}

    assert read(text, environ, flags).server == ServerSettings(host="file", port=2, max_body=3)


def test_an_empty_variable_counts_as_unset(read):
    assert read("server: {port: 1}", {"SERVER_PORT": ""}).server.port == 1


@pytest.mark.parametrize(
    "text",
    ["", "# nothing\n", "queue:\n", "backends:\nserver: {}\n", "remote_scheduling: {endpoints: }"],
)
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
    config = read("queue: {storage_path: ~/queue}\nlogging: {file: ~/q.log}")

    assert (config.queue.storage_path, config.logging.file) == ("/home/me/queue", "/home/me/q.log")


@pytest.mark.parametrize("given", ["null", "NULL"])
def test_null_in_the_environment_takes_back_what_the_file_says(read, given):
    text = "queue: {max_workers: 2, retention: 1d}\nlogging: {file: a.log}"
    environ = {"QUEUE_MAX_WORKERS": given, "QUEUE_RETENTION": given, "LOG_FILE": given}
    config = read(text, environ)

    assert (config.queue.max_workers, config.queue.retention) == (None, None)
    assert config.logging.file is None


def test_a_wrong_value_that_another_beats_does_not_matter(read):
    assert read("server: {port: x}", {"SERVER_PORT": "y"}, {"server.port": 1}).server.port == 1


# --- where it comes from --------------------------------------------------------------------------


def test_each_value_has_an_origin_unless_it_is_a_default(tmp_path):
    path = str(tmp_path / "config.yaml")
    (tmp_path / "config.yaml").write_text("""
server: {host: localhost, port: 1, max_body: 1}
backends: [{name: a, url: "http://a"}]
remote_scheduling: {endpoints: [{name: b, base_url: "http://b", enabled: false}]}
""")
    environ = {"SERVER_PORT": "2", "SERVER_MAX_BODY": "2"}
    loaded = trace(path, environ, {"server.max_body": 3, "logging.level": "debug"})

    assert loaded.config == load(path, environ, {"server.max_body": 3, "logging.level": "debug"})
    assert loaded.origins == {
        "server.host": path,
        "server.port": "environment variable SERVER_PORT",
        "server.max_body": "command line",
        "backends": path,
        "backends[0].name": path,
        "backends[0].url": path,
        "remote_scheduling.endpoints": path,
        "remote_scheduling.endpoints[0].name": path,
        "remote_scheduling.endpoints[0].base_url": path,
        "remote_scheduling.endpoints[0].enabled": path,
        "logging.level": "command line",
    }


def test_texts_of_a_list_stand_between_commas_in_the_environment():
    environment = {
        "OLLAMA_ORIGINS": "https://a.example, app://*,",
        "SERVER_ALLOWED_HOSTS": "queue.example.com",
    }
    loaded = trace(None, environment, {})

    assert loaded.config.ollama.origins == ["https://a.example", "app://*"]
    assert loaded.config.server.allowed_hosts == ["queue.example.com"]
    assert loaded.origins["ollama.origins"] == "environment variable OLLAMA_ORIGINS"
    with pytest.raises(Invalid, match=r"OLLAMA_ORIGINS: ollama.origins\[0\] must be an origin"):
        trace(None, {"OLLAMA_ORIGINS": "a.example"}, {})


@pytest.mark.parametrize("text", ["9", " 9 ", '"9"', "'9'", ' "9" ', '" 9"', "9\r"])
def test_blanks_and_quotes_around_a_variable_are_passed_over(text):
    environ = {"SERVER_PORT": text, "QUEUE_RETENTION": '"null"', "LOG_LEVEL": "''"}
    config = load(None, environ, {})

    assert (config.server.port, config.queue.retention) == (9, None)
    assert config.logging.level == "info"


def test_every_path_is_anchored_where_the_program_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = {key: "./x/../y" for key, kind in KEYS.items() if plain(kind) is Path_}
    anchored = settings.anchored(load(None, {}, paths))

    assert len(paths) >= 4
    for key in paths:
        section, _, name = key.partition(".")
        assert getattr(getattr(anchored, section), name) == str(tmp_path / "y"), key
    assert settings.anchored(anchored) == anchored


STORAGE = "postgresql://queue:s3cret%40x@db.example:5433/queue?sslmode=require&password=also"


@pytest.mark.parametrize("name", ["storage", "QUEUE_STORAGE", "queue.storage"])
def test_a_database_takes_the_place_of_the_folder(read, name):
    given = {
        "storage": (f"queue: {{storage: '{STORAGE}'}}", {}, {}),
        "QUEUE_STORAGE": ("", {"QUEUE_STORAGE": STORAGE}, {}),
        "queue.storage": ("", {}, {"queue.storage": STORAGE}),
    }
    assert read(*given[name]).queue == QueueSettings(storage=STORAGE)


def test_a_database_may_have_several_hosts(read):
    url = "postgresql://u@one:5432,two:5433,[::1]/db?target_session_attrs=read-write"

    assert read("", {"QUEUE_STORAGE": url}).queue.storage == url


def test_the_password_of_a_database_is_never_shown():
    loaded = trace(None, {"QUEUE_STORAGE": STORAGE}, {})

    for text in (listing(loaded), repr(loaded.config), str(loaded.config.queue)):
        assert "db.example" in text
        assert "s3cret" not in text and "also" not in text


def test_a_folder_and_a_database_exclude_each_other(read):
    with pytest.raises(Invalid) as refused:
        read("queue: {storage_path: ./data}", {"QUEUE_STORAGE": STORAGE})

    assert "environment variable QUEUE_STORAGE and " in refused.value.message
    assert "exclude each other: set one of them" in refused.value.message
    assert "s3cret" not in refused.value.message


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"QUEUE_STORAGE": "./s3cret"}, "queue.storage"),
        ({"QUEUE_STORAGE": "mysql://u:s3cret@host/db"}, "queue.storage"),
        ({"QUEUE_STORAGE": "postgresql://u:p@s3cret@host/db"}, "queue.storage"),
        ({"QUEUE_STORAGE": "postgresql://u:s3cret#x@host/db"}, "queue.storage"),
        ({"QUEUE_STORAGE": "postgresql://u:s3cret/x@host/db"}, "queue.storage"),
        ({"QUEUE_STORAGE": "postgresql://u:s3cret@host:port/db"}, "queue.storage"),
        ({"QUEUE_STORAGE": "postgresql://u:s3cret@one:1,two:port/db"}, "queue.storage"),
        ({"QUEUE_STORAGE": STORAGE, "QUEUE_DURABILITY": "relaxed"}, "queue.durability"),
        ({"QUEUE_STORAGE": STORAGE, "SERVER_HOST": "0.0.0.0"}, "fleet.url"),
        ({"QUEUE_STORAGE": STORAGE, "SERVER_HOST": "[::]"}, "fleet.url"),
        ({"FLEET_URL": "http://host:1/path"}, "fleet.url"),
        ({"FLEET_URL": "host:7125"}, "fleet.url"),
        ({"FLEET_TTL": "900ms"}, "fleet.ttl"),
        ({"FLEET_TTL": "2m"}, "fleet.ttl"),
    ],
)
def test_settings_of_a_fleet_that_cannot_work_are_refused(wrong, field):
    with pytest.raises(Invalid) as refused:
        load(None, wrong, {})

    assert refused.value.field == field
    assert "s3cret" not in refused.value.message


def test_a_server_on_all_interfaces_says_where_it_is():
    environ = {"SERVER_HOST": "0.0.0.0", "FLEET_URL": "https://a:1", "QUEUE_STORAGE": STORAGE}

    assert load(None, environ, {}).fleet.url == "https://a:1"
