"""Settings are checked when they are made, and a wrong one is named."""

import math
from typing import Any

import pytest

from ollama_queue.actors.core.config.config import (
    AuthSettings,
    Backend,
    Config,
    Endpoint,
    FleetSettings,
    LoggingSettings,
    ModelSettings,
    OllamaSettings,
    QueueSettings,
    RemoteScheduling,
    RetrySettings,
    SchedulerSettings,
    ServerSettings,
)
from ollama_queue.actors.core.model.errors import Invalid

HERE = "http://localhost:1"
NO_URLS = (
    "",
    "localhost:1",
    "ftp://localhost",
    "HTTP//x",
    "http://",
    "http://a:0",
    "http://a:x",
    "http://[::1",
    "http://a b",
    "http://a\n",
)


def backends(*urls: str, **fields: Any) -> dict[str, Any]:
    return {"backends": [Backend(**{"name": "b", "url": url, **fields}) for url in urls]}


def endpoints(*names: str, **fields: Any) -> dict[str, Any]:
    made = [Endpoint(**{"name": name, "base_url": HERE, **fields}) for name in names]
    return {"remote_scheduling": RemoteScheduling(endpoints=made)}


NAME = "1 to 64 letters, digits, dots, _ or -, the first a letter or digit"
ABOVE_0 = "a duration above 0, up to 3650d"
FROM_0 = "a duration of 0 to 3650d"
NO_NAMES = ("", "a b", "tag:a", "a\n", "é", "-a", "..", "a/b", "a" * 65)
NOT_ABOVE_0 = (0.0, -1.0, math.nan, math.inf, 1e10)


def models(fallback: list[str], name: str = "m", **fields: Any) -> dict[str, Any]:
    return {"models": {name: ModelSettings(fallback=fallback, **fields)}}


MODEL = "a model's name of 1 to 256 characters"
OTHER = "a model other than the task's own"

BAD: list[tuple[dict[str, Any], str, str]] = [
    (models(["a"] * 9), "models.m.fallback", "at most 8 models, not 9"),
    (models(["a", "b", "A:latest"]), "models.m.fallback[2]", "a model that is not named before"),
    *((models(["a", own]), "models.m.fallback[1]", OTHER) for own in ("M", "library/m:latest")),
    *((models([name]), "models.m.fallback[0]", MODEL) for name in ("", " ", "a" * 257)),
    *((models([], name), f"models.{name}", MODEL) for name in ("", " ")),
    (
        {"models": {"a": ModelSettings(), "A:latest": ModelSettings()}},
        "models.A:latest",
        "a model that is not named twice",
    ),
    *(
        (models([], after=s), "models.m.after", "a duration above 0, up to 3650d, or null")
        for s in NOT_ABOVE_0
    ),
    *(({"server": ServerSettings(port=n)}, "server.port", "0 to 65535") for n in (-1, 65536)),
    *(
        ({"server": ServerSettings(max_body=n)}, "server.max_body", "a size above 0")
        for n in (0, -1)
    ),
    *(
        ({"server": ServerSettings(shutdown_grace=s)}, "server.shutdown_grace", "0 to 1 day")
        for s in (-0.1, math.nan)
    ),
    *(
        ({"ollama": OllamaSettings(timeout=s)}, "ollama.timeout", "a duration above 0, up to 1 day")
        for s in (0.0, -1.0, math.nan)
    ),
    (
        {"server": ServerSettings(tls_cert="c")},
        "server.tls_key",
        "a file, as its counterpart is given",
    ),
    (
        {"server": ServerSettings(tls_key="k")},
        "server.tls_cert",
        "a file, as its counterpart is given",
    ),
    *(
        (
            {"server": ServerSettings(cors_origins=["http://a", bad])},
            "server.cors_origins[1]",
            "an origin, such as https://app.example.com or app://obsidian.md; * would let every "
            "site's pages in, and needs auth.keys",
        )
        for bad in ("*", "null", "a.example", "https://a/", "https://A", "https://a/b", "app://*")
    ),
    *(
        (
            {"server": ServerSettings(base_path=bad)},
            "server.base_path",
            "a path without a slash at its end, such as /queue, whose first part is no path of the "
            "server",
        )
        for bad in ("queue", "/queue/", "/", "//a", "/a//b", "/../a", "/a b", "/api", "/v1/x")
    ),
    *(
        (
            {"server": ServerSettings(trusted_proxies=["10.0.0.1", "10.0.0.0/8", "::1", bad])},
            "server.trusted_proxies[3]",
            "an address or a network, such as 10.0.0.1 or 10.0.0.0/8",
        )
        for bad in ("", "proxy", "10.0.0.0/33", "10.0.0.1:80", "*")
    ),
    ({"server": ServerSettings(max_per_address=0)}, "server.max_per_address", "1 or more, or null"),
    *(
        (
            {"server": ServerSettings(allowed_hosts=["10.0.0.1", "*.a.example", bad])},
            "server.allowed_hosts[2]",
            "a host without a port, such as queue.example.com or *.example.com",
        )
        for bad in ("*", "a:80", "http://a", "a b", "*.", "")
    ),
    (
        {"ollama": OllamaSettings(origins=["*", "app://*", "http://a", "a.example"])},
        "ollama.origins[3]",
        "an origin, such as https://app.example.com or app://*, or * for all sites",
    ),
    ({"server": ServerSettings(host="")}, "server.host", "an address, such as 127.0.0.1"),
    *((backends(HERE, name=name), "backends[0].name", NAME) for name in NO_NAMES),
    *(
        (backends(url), "backends[0].url", "an http(s) URL, such as http://gpu1:11434")
        for url in NO_URLS
    ),
    *(
        (backends(HERE, api_key=key), "backends[0].api_key", "one line of ASCII")
        for key in ("a\nb", "é", "\t")
    ),
    (backends(HERE, tags=["a", " "]), "backends[0].tags[1]", "a non-empty string"),
    (backends(HERE, models=[""]), "backends[0].models[0]", "a non-empty string"),
    (backends(HERE, HERE), "backends[1].name", "a name that no other backend has"),
    *((endpoints(n), "remote_scheduling.endpoints[0].name", NAME) for n in NO_NAMES),
    *(
        (
            endpoints("a", name),
            "remote_scheduling.endpoints[1].name",
            "a name that no other backend has",
        )
        for name in ("a", "ollama")
    ),
    (
        backends(HERE) | endpoints("b"),
        "remote_scheduling.endpoints[0].name",
        "a name that no other backend has",
    ),
    *(
        (
            endpoints("a", base_url=url),
            "remote_scheduling.endpoints[0].base_url",
            "an http(s) URL, such as https://gpu1:8080/v1",
        )
        for url in NO_URLS
    ),
    (endpoints("a", api_key="\n"), "remote_scheduling.endpoints[0].api_key", "one line of ASCII"),
    *(
        (
            {"remote_scheduling": RemoteScheduling(health_check_interval=s)},
            "remote_scheduling.health_check_interval",
            ABOVE_0,
        )
        for s in NOT_ABOVE_0
    ),
    (
        {"remote_scheduling": RemoteScheduling(max_local_queue_size=-1)},
        "remote_scheduling.max_local_queue_size",
        "0 or more",
    ),
    ({"scheduler": SchedulerSettings(batch_size=0)}, "scheduler.batch_size", "1 or more"),
    *(
        (
            {"scheduler": SchedulerSettings(scheduling_interval=s)},
            "scheduler.scheduling_interval",
            ABOVE_0,
        )
        for s in NOT_ABOVE_0
    ),
    *(
        (
            {"scheduler": SchedulerSettings(affinity_max_wait=s)},
            "scheduler.affinity_max_wait",
            FROM_0,
        )
        for s in (-1.0, math.nan, math.inf)
    ),
    *(
        ({"scheduler": SchedulerSettings(aging=s)}, "scheduler.aging", f"{ABOVE_0}, or null")
        for s in NOT_ABOVE_0
    ),
    *(
        ({"scheduler": SchedulerSettings(model_wait=s)}, "scheduler.model_wait", FROM_0)
        for s in (-1.0, math.nan, math.inf)
    ),
    *(({"logging": LoggingSettings(file=path)}, "logging.file", "a file") for path in ("", "a\0b")),
    *(
        ({"queue": QueueSettings(storage_path=path)}, "queue.storage_path", "a folder")
        for path in ("", "a\0b")
    ),
    *(
        ({"queue": QueueSettings(cleanup_interval=s)}, "queue.cleanup_interval", ABOVE_0)
        for s in NOT_ABOVE_0
    ),
    ({"queue": QueueSettings(max_completed_tasks=-1)}, "queue.max_completed_tasks", "0 or more"),
    *(
        ({"queue": QueueSettings(retention=s)}, "queue.retention", f"{ABOVE_0}, or null")
        for s in NOT_ABOVE_0
    ),
    *(({"ollama": OllamaSettings(host=url)}, "ollama.host", "an http(s) URL") for url in NO_URLS),
    *((backends(HERE, parallel=n), "backends[0].parallel", "1 to 1024") for n in (0, -1, 1025)),
    *(
        ({"queue": QueueSettings(max_workers=n)}, "queue.max_workers", "1 to 1024")
        for n in (0, -1, 1025)
    ),
    *(
        ({"queue": QueueSettings(max_queue_size=n)}, "queue.max_queue_size", "1 or more")
        for n in (0, -1)
    ),
    *(
        ({"queue": QueueSettings(max_queue_bytes=n)}, "queue.max_queue_bytes", "a size above 0")
        for n in (0, -1)
    ),
    *(
        ({"retry_config": RetrySettings(max_retries=n)}, "retry_config.max_retries", "0 to 100")
        for n in (-1, 101)
    ),
    *(
        (
            {"retry_config": RetrySettings(initial_delay=s)},
            "retry_config.initial_delay",
            "a duration above 0",
        )
        for s in (0.0, -1.0, math.nan)
    ),
    *(
        (
            {"retry_config": RetrySettings(max_delay=s)},
            "retry_config.max_delay",
            "no less than retry_config.initial_delay, and 1 day at most",
        )
        for s in (0.9, -1.0, math.nan)
    ),
    *(
        (
            {"retry_config": RetrySettings(backoff_factor=n)},
            "retry_config.backoff_factor",
            "1 or more",
        )
        for n in (0.9, -2.0, math.nan)
    ),
]


@pytest.mark.parametrize(("settings", "key", "wanted"), BAD)
def test_a_bad_value_is_named(settings: dict[str, Any], key: str, wanted: str) -> None:
    with pytest.raises(Invalid) as caught:
        Config(**settings)

    assert (caught.value.field, str(caught.value)) == (key, f"{key} must be {wanted}")


@pytest.mark.parametrize(
    "retry",
    [
        RetrySettings(max_delay=math.inf),
        RetrySettings(initial_delay=math.inf, max_delay=math.inf),
        RetrySettings(max_delay=1e300),
        RetrySettings(initial_delay=1e300, max_delay=1e300),
    ],
)
def test_a_delay_that_no_calendar_holds_is_refused(retry: RetrySettings) -> None:
    with pytest.raises(Invalid) as caught:
        Config(retry_config=retry)

    assert caught.value.field in ("retry_config.max_delay", "retry_config.initial_delay")


@pytest.mark.parametrize(
    "settings",
    [
        {"server": ServerSettings(port=0, max_body=1, shutdown_grace=0.0)},
        {"server": ServerSettings(port=65535)},
        {"queue": QueueSettings(max_workers=1, max_queue_size=1, max_queue_bytes=1)},
        {"queue": QueueSettings(max_workers=1024)},
        {"retry_config": RetrySettings(max_retries=0, max_delay=1.0, backoff_factor=1.0)},
        {"retry_config": RetrySettings(max_retries=100)},
        backends("https://models.example/v1", type="openai", parallel=1),
        backends(HERE, name="a" * 64, parallel=1024, priority=-1, tags=["x"], models=["x:latest"]),
        backends(HERE, name="0._-"),
        {"queue": QueueSettings(max_completed_tasks=0, retention=None, cleanup_interval=0.001)},
        {
            "scheduler": SchedulerSettings(
                affinity_max_wait=0.0, aging=0.001, model_wait=0.0, batch_size=1
            )
        },
        {"remote_scheduling": RemoteScheduling(max_local_queue_size=0)},
        endpoints("ollama", "ollama", enabled=False),
    ],
)
def test_the_outermost_good_values_pass(settings: dict[str, Any]) -> None:
    Config(**settings)


def test_a_server_knows_its_own_name() -> None:
    config = Config(
        server=ServerSettings(allowed_hosts=["queue.example.com"]),
        fleet=FleetSettings(url="https://Queue1.example:8443"),
    )

    assert config.known_hosts == ("queue.example.com", "queue1.example")
    assert Config().known_hosts == ()


def test_with_keys_pages_of_all_sites_may_be_let_in() -> None:
    everywhere = ServerSettings(cors_origins=["*"])

    assert Config(server=everywhere, auth=AuthSettings(required=True)).server == everywhere


@pytest.mark.parametrize(
    "origin", ["app://obsidian.md", "chrome-extension://abc", "tauri://localhost"]
)
def test_an_origin_may_have_any_scheme(origin: str) -> None:
    assert Config(server=ServerSettings(cors_origins=[origin])).server.cors_origins == [origin]


@pytest.mark.parametrize("path", ["", "/queue", "/a/b.c", "/apis"])
def test_a_prefix(path: str) -> None:
    assert Config(server=ServerSettings(base_path=path)).server.base_path == path
