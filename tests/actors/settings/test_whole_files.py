"""Whole files as their users write them: the first version's, one with all there is, none."""

import msgspec
import pytest

from ollama_queue.actors.core.config.config import (
    Backend,
    Config,
    Endpoint,
    LoggingSettings,
    QueueSettings,
    RemoteScheduling,
)
from ollama_queue.actors.settings.settings import load, trace
from ollama_queue.actors.settings.value_types import KEYS
from ollama_queue.http.serving.check_config import listing

FIRST_VERSION = """
ollama:
  host: "http://localhost:11434"
  timeout: "5m"

queue:
  max_workers: 4
  storage_path: "./data"
  cleanup_interval: "1h"
  max_completed_tasks: 1000

scheduler:
  batch_size: 10
  scheduling_interval: "1s"

retry_config:
  max_retries: 3
  initial_delay: "1s"
  max_delay: "30s"
  backoff_factor: 2.0

logging:
  level: "info"
  file: "ollama-queue.log"
"""

EVERYTHING = """
server:    {host: 127.0.0.1, port: 7125, max_body: 32MiB, max_upload: 256MiB, shutdown_grace: 30s}
ollama:    {host: http://localhost:11434, timeout: 5m}
backends:
  - {name: gpu1, type: ollama, url: http://gpu1:11434, parallel: 2, priority: 0, tags: [],
     models: []}
  - {name: cloud, type: openai, url: https://api.example.com/v1, api_key: ${CLOUD_KEY}, parallel: 8,
     models: [gpt-4o-mini]}
queue:     {max_workers: null, storage_path: ./data, cleanup_interval: 1h,
            max_completed_tasks: 100000, retention: 7d,
            max_queue_size: 1000000, max_queue_bytes: 4GiB, durability: strict}
scheduler: {batch_size: 10, scheduling_interval: 1s,
            policy: fifo, affinity_max_wait: 30s, aging: null, fair: false, model_wait: 10m}
retry_config: {max_retries: 3, initial_delay: 1s, max_delay: 30s, backoff_factor: 2.0}
remote_scheduling: {enabled: false, health_check_interval: 30s, fallback_to_local: true,
            local_first_policy: true, max_local_queue_size: 100,
            endpoints: [{name: OpenAI, base_url: https://api.example.com/v1, api_key: "${KEY}",
                         priority: 10, enabled: true}]}
logging:   {level: info, file: null, format: text}
"""
KEYS_GIVEN = {"CLOUD_KEY": "c", "KEY": "k"}


def test_the_file_of_the_first_version_loads_as_it_is(read):
    assert read(FIRST_VERSION) == Config(
        queue=QueueSettings(max_workers=4, max_completed_tasks=1000),
        logging=LoggingSettings(file="ollama-queue.log"),
    )


def test_its_environment_is_understood():
    environ = {
        "OLLAMA_HOST": "http://localhost:11434",
        "QUEUE_MAX_WORKERS": "4",
        "QUEUE_STORAGE_PATH": "./data",
        "RETRY_MAX_RETRIES": "3",
        "LOG_LEVEL": "info",
    }
    assert load(None, environ, {}) == Config(queue=QueueSettings(max_workers=4))


def test_a_file_with_everything_loads(read):
    assert read(EVERYTHING, KEYS_GIVEN) == Config(
        backends=[
            Backend(name="gpu1", url="http://gpu1:11434", parallel=2),
            Backend(
                name="cloud",
                type="openai",
                url="https://api.example.com/v1",
                api_key="c",
                parallel=8,
                models=["gpt-4o-mini"],
            ),
        ],
        remote_scheduling=RemoteScheduling(
            endpoints=[
                Endpoint(
                    name="OpenAI", base_url="https://api.example.com/v1", api_key="k", priority=10
                )
            ]
        ),
    )


# --- what --check-config prints -------------------------------------------------------------------


@pytest.fixture
def traced(read):
    """As `read`, with the origins of the values."""

    def traced(text, environ=None, flags=None):
        read(text, environ, flags)  # writes the file
        return trace("config.yaml", environ or {}, flags or {})

    return traced


ODD = """
backends:
  - {name: a, url: "http://a:1/v1?x=#y", type: openai, tags: ["a, b", "]", "é"], models: ["1", x]}
  - {name: "7", url: "http://b", remote: yes}
models: {"a: b": {fallback: ["#c", "7"], after: null}, "8": {}, x: {after: 1500ms}}
queue: {storage_path: "a: b # c", retention: null, cleanup_interval: 0.0015, max_queue_bytes: 1001}
remote_scheduling: {endpoints: [{name: "null", base_url: "http://c", enabled: off}]}
logging: {file: "~"}
scheduler: {aging: 1h30m, fair: on, model_wait: 0}
"""


def values(written):
    return [line.partition("  # ")[0].rstrip() for line in written.splitlines()]


@pytest.mark.parametrize("text", ["", FIRST_VERSION, ODD], ids=["nothing", "first", "odd"])
def test_the_listing_is_a_file_that_says_the_same(read, traced, text):
    loaded = traced(text)
    written = listing(loaded)

    assert read(written) == loaded.config
    assert values(listing(traced(written))) == values(written)
    assert all(f"{key.rpartition('.')[2]}:" in written for key in KEYS)


def test_the_listing_names_the_origin_of_each_value(traced):
    text = "server: {port: 1}\nbackends: [{name: a, url: 'http://a'}]\n"
    lines = listing(traced(text, {"LOG_LEVEL": "debug"}, {"queue.max_workers": 3})).splitlines()
    told = {line.partition("#")[0].strip(): line.partition("# ")[2] for line in lines}

    assert told["port: 1"] == "config.yaml"
    assert told["backends:"] == told["- name: a"] == told["url: http://a"] == "config.yaml"
    assert told["parallel: null"] == told["host: 127.0.0.1"] == "default"
    assert told["level: debug"] == "environment variable LOG_LEVEL"
    assert told["max_workers: 3"] == "command line"


def test_the_listing_hides_secrets(read, traced, refused):
    url = '"http://me:hush@gpu1:11434/?key=hush&hush&v="'
    text = EVERYTHING.replace("http://gpu1:11434", url)
    environ = {"CLOUD_KEY": "hush", "KEY": "hush", "OLLAMA_HOST": "http://hush@far:1"}
    written = listing(traced(text, environ))

    assert "hush" not in written
    assert written.count("api_key: ***") == 2
    assert "url: http://***@gpu1:11434/?key=***&***&v=" in written
    assert "host: http://***@far:1" in written
    assert refused(written).startswith("config.yaml is not YAML: ")


def test_the_listing_knows_every_kind_of_setting():
    written = listing(trace(None, {}, {}))

    for field in msgspec.structs.fields(Config):
        assert f"{field.name}:" in written
    assert "max_body: 32MiB" in written
    assert "timeout: 5m" in written
    assert "backoff_factor: 2.0" in written
    assert "fair: false" in written
    assert "aging: null" in written
