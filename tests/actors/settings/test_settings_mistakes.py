"""What is wrong in the settings is said in one line: the key, where it stands, what is right."""

import pytest

from ollama_queue.actors.core.model.errors import Invalid
from ollama_queue.actors.settings.settings import load


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
            "choose from server, ollama, backends, models, queue, fleet, scheduler, retry_config, "
            "remote_scheduling, proxy, auth, webhooks, callbacks, logging",
        ),
        (
            "logging: {zzzzzzzzzzzz: 4}",
            "config.yaml: logging.zzzzzzzzzzzz is not a setting: choose from logging.level, "
            "logging.file, logging.format",
        ),
        ("1: 2", "config.yaml: 1 is not a setting: "),
        ("queue: 4", "config.yaml: queue must be a group of settings"),
        ("backends: 4", "config.yaml: backends must be a list"),
        ("backends: [4]", "config.yaml: backends[0] must be a group with a name and a url"),
        ("backends: [{name: a}]", "config.yaml: backends[0].url is missing"),
        ("models: [a]", "config.yaml: models must be a group"),
        ("models: {a: b}", "config.yaml: models.a must be a group with settings of its own"),
        (
            "models: {a: {fallbacks: [b]}}",
            "config.yaml: models.a.fallbacks is not a setting: did you mean models.a.fallback?",
        ),
        ("models: {a: {fallback: b}}", "config.yaml: models.a.fallback must be a list"),
        (
            "models: {a: {fallback: [b, A:latest]}}",
            "config.yaml: models.a.fallback[1] must be a model other than the task's own",
        ),
        (
            "models: {a: {after: soon}}",
            "config.yaml: models.a.after: 'soon' is not a duration",
        ),
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
            "config.yaml: backends[0].url must be an http(s) URL",
        ),
        (
            "backends: [{name: a, url: 'http://b', tags: gpu}]",
            "config.yaml: backends[0].tags must be a list",
        ),
        (
            "backends: [{name: a, url: 'http://b', models: [x, 7]}]",
            "config.yaml: backends[0].models[1]: 7 is not a string",
        ),
        (
            "backends: [{name: a, url: 'http://b', models: [x, '']}]",
            "config.yaml: backends[0].models[1] must be a non-empty string",
        ),
        (
            "backends: [{name: a, url: 'http://b', remote: perhaps}]",
            "config.yaml: backends[0].remote: 'perhaps' is not true or false",
        ),
        (
            "remote_scheduling: {endpoints: {name: a}}",
            "config.yaml: remote_scheduling.endpoints must be a list",
        ),
        (
            "remote_scheduling: {endpoints: [a]}",
            "config.yaml: remote_scheduling.endpoints[0] must be a group "
            "with a name and a base_url",
        ),
        (
            "remote_scheduling: {endpoints: [{name: a, base_url: 'http://a'}, {name: a}]}",
            "config.yaml: remote_scheduling.endpoints[1].base_url is missing",
        ),
        (
            "remote_scheduling: {endpoints: [{name: a, url: 'http://a'}]}",
            "config.yaml: remote_scheduling.endpoints[0].url is not a setting: "
            "did you mean remote_scheduling.endpoints[0].",
        ),
        (
            "remote_scheduling: {endpoints: [{name: 'tag:a', base_url: 'http://a'}]}",
            "config.yaml: remote_scheduling.endpoints[0].name must be 1 to 64 letters, digits",
        ),
        (
            "scheduler: {aging: 0}",
            "config.yaml: scheduler.aging must be a duration above 0, up to 3650d, or null",
        ),
        ("scheduler: {fair: 3}", "config.yaml: scheduler.fair: 3 is not true or false"),
        (
            "scheduler: {policy: lifo}",
            "config.yaml: scheduler.policy: 'lifo' is not one of fifo, affinity",
        ),
        ("logging: {file: ''}", "config.yaml: logging.file must be a file"),
        (
            "queue: {max_workers: many}",
            "config.yaml: queue.max_workers: 'many' is not a whole number",
        ),
        ("server: {port: 80.5}", "config.yaml: server.port: 80.5 is not a whole number"),
        ("server: {port: yes}", "config.yaml: server.port: True is not a whole number"),
        ("server: {host: 7}", "config.yaml: server.host: 7 is not a string"),
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
        ("[]", "config.yaml must contain sections: server, ollama, backends, models, queue, "),
    ],
)
def test_what_is_wrong_in_a_file_is_said_in_one_line(refused, text, sentence):
    assert refused(text).startswith(sentence)


@pytest.mark.parametrize(
    "text", ["a: [", "a: b: c", "\ta: 1", "a: \x00", "a: !!python/name:os.x", "[1]: 2"]
)
def test_a_file_that_is_not_yaml_is_refused(refused, text):
    assert refused(text).startswith("config.yaml is not YAML: ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("server: {port: 1, port: 2}", "port is set twice, at line 1, column 19"),
        ("queue:\nserver: {}\nqueue: {}", "queue is set twice, at line 3, column 1"),
    ],
)
def test_a_key_that_stands_twice_is_refused(refused, text, words):
    assert refused(text) == f"config.yaml is not YAML: {words}"


def test_a_number_as_api_key_is_not_shown(refused):
    sentence = refused("backends: [{name: a, url: 'http://b', api_key: 12345}]")
    assert sentence == "config.yaml: backends[0].api_key: must be a string in quotes"


@pytest.mark.parametrize("host", ["http://me:secret@gpu:port", "me:secret@g p u"])
def test_a_password_in_a_host_is_not_shown(refused, host):
    assert "secret" not in refused(f"ollama: {{host: '{host}'}}")


def test_a_key_that_no_header_can_carry_is_not_shown(refused):
    text = 'backends: [{name: a, url: "http://b", api_key: "sec\\nret"}]'
    assert refused(text) == "config.yaml: backends[0].api_key must be one line of ASCII"


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
