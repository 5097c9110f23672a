"""Settings are checked when they are made, and a wrong one is named."""

import math
from typing import Any

import pytest

from ollama_queue.actors.core.config import Backend, Config, Ollama, Queue, Retry, Server
from ollama_queue.actors.core.errors import Invalid

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


BAD: list[tuple[dict[str, Any], str, str]] = [
    *(({"server": Server(port=n)}, "server.port", "0 to 65535") for n in (-1, 65536)),
    *(({"server": Server(max_body=n)}, "server.max_body", "a size above 0") for n in (0, -1)),
    *(
        ({"server": Server(shutdown_grace=s)}, "server.shutdown_grace", "0 to 1 day")
        for s in (-0.1, math.nan)
    ),
    *(
        ({"ollama": Ollama(timeout=s)}, "ollama.timeout", "a duration above 0, up to 1 day")
        for s in (0.0, -1.0, math.nan)
    ),
    (backends(HERE, name=""), "backends.name", "a name"),
    *(
        (backends(url), "backends.url", "an http(s) URL, such as http://gpu1:11434")
        for url in NO_URLS
    ),
    *(({"ollama": Ollama(host=url)}, "ollama.host", "an http(s) URL") for url in NO_URLS),
    *((backends(HERE, parallel=n), "backends.parallel", "1 or more") for n in (0, -1)),
    *(({"queue": Queue(max_workers=n)}, "queue.max_workers", "1 to 1024") for n in (0, -1, 1025)),
    *(({"queue": Queue(max_queue_size=n)}, "queue.max_queue_size", "1 or more") for n in (0, -1)),
    *(
        ({"queue": Queue(max_queue_bytes=n)}, "queue.max_queue_bytes", "a size above 0")
        for n in (0, -1)
    ),
    *(
        ({"retry_config": Retry(max_retries=n)}, "retry_config.max_retries", "0 to 100")
        for n in (-1, 101)
    ),
    *(
        (
            {"retry_config": Retry(initial_delay=s)},
            "retry_config.initial_delay",
            "a duration above 0",
        )
        for s in (0.0, -1.0, math.nan)
    ),
    *(
        (
            {"retry_config": Retry(max_delay=s)},
            "retry_config.max_delay",
            "no less than retry_config.initial_delay, and 1 day at most",
        )
        for s in (0.9, -1.0, math.nan)
    ),
    *(
        ({"retry_config": Retry(backoff_factor=n)}, "retry_config.backoff_factor", "1 or more")
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
        Retry(max_delay=math.inf),
        Retry(initial_delay=math.inf, max_delay=math.inf),
        Retry(max_delay=1e300),
        Retry(initial_delay=1e300, max_delay=1e300),
    ],
)
def test_a_delay_that_no_calendar_holds_is_refused(retry: Retry) -> None:
    with pytest.raises(Invalid) as caught:
        Config(retry_config=retry)

    assert caught.value.field in ("retry_config.max_delay", "retry_config.initial_delay")


@pytest.mark.parametrize(
    "settings",
    [
        {"server": Server(port=0, max_body=1, shutdown_grace=0.0)},
        {"server": Server(port=65535)},
        {"queue": Queue(max_workers=1, max_queue_size=1, max_queue_bytes=1)},
        {"queue": Queue(max_workers=1024)},
        {"retry_config": Retry(max_retries=0, max_delay=1.0, backoff_factor=1.0)},
        {"retry_config": Retry(max_retries=100)},
        backends("https://models.example/v1", type="openai", parallel=1),
    ],
)
def test_the_outermost_good_values_pass(settings: dict[str, Any]) -> None:
    Config(**settings)


@pytest.mark.parametrize(
    ("workers", "parallel", "both"),
    [
        (None, None, (4, 4)),
        (2, None, (2, 2)),
        (None, 3, (3, 3)),
        (2, 3, (2, 3)),
    ],
)
def test_workers_and_parallel_default_to_each_other(
    workers: int | None, parallel: int | None, both: tuple[int, int]
) -> None:
    config = Config(
        queue=Queue(max_workers=workers), backends=[Backend(name="b", url=HERE, parallel=parallel)]
    )

    assert (config.workers, config.all_backends[0].parallel) == both


def test_ollamas_host_is_the_backend_unless_another_is_named() -> None:
    alone = Backend(name="ollama", url=HERE, parallel=4, remote=False)
    assert Config(ollama=Ollama(host=HERE)).all_backends == [alone]
    named = Backend(name="b", url=HERE, type="openai", api_key="secret", parallel=2, remote=False)
    assert Config(backends=[named]).all_backends == [named]


def test_a_key_does_not_reach_a_log() -> None:
    config = Config(backends=[Backend(name="b", url=HERE, api_key="secret")])

    assert "secret" not in repr(config)
    assert "secret" not in repr(config.all_backends[0])
