"""Which backends are in use, and how many calls each gets; what of them may be shown."""

import pytest

from ollama_queue.actors.core.config.config import (
    Backend,
    Config,
    Endpoint,
    OllamaSettings,
    QueueSettings,
    RemoteScheduling,
)

HERE = "http://localhost:1"


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
        queue=QueueSettings(max_workers=workers),
        backends=[Backend(name="b", url=HERE, parallel=parallel)],
    )

    assert (config.workers, config.all_backends[0].parallel) == both


def test_ollamas_host_is_the_backend_unless_another_is_named() -> None:
    alone = Backend(name="ollama", url=HERE, parallel=4, remote=False)
    assert Config(ollama=OllamaSettings(host=HERE)).all_backends == [alone]
    named = Backend(name="b", url=HERE, type="openai", api_key="secret", parallel=2, remote=False)
    assert Config(backends=[named]).all_backends == [named]


def test_the_backends_in_use_are_the_named_ones_and_the_enabled_endpoints() -> None:
    config = Config(
        backends=[
            Backend(name="a", url=HERE, priority=3, tags=["x"]),
            Backend(name="b", url="http://127.1.2.3/v1", type="openai"),
            Backend(name="c", url="http://far/v1", type="openai", parallel=9),
            Backend(name="d", url="http://far/v1", type="openai", remote=False),
        ],
        remote_scheduling=RemoteScheduling(
            enabled=True,
            endpoints=[
                Endpoint(name="e", base_url="http://far", api_key="k", priority=10),
                Endpoint(name="f", base_url="http://far", enabled=False),
            ],
        ),
    )

    assert config.all_backends == [
        Backend(name="a", url=HERE, priority=3, tags=["x"], parallel=1, remote=False),
        Backend(name="b", url="http://127.1.2.3/v1", type="openai", parallel=4, remote=False),
        Backend(name="c", url="http://far/v1", type="openai", parallel=9, remote=True),
        Backend(name="d", url="http://far/v1", type="openai", parallel=4, remote=False),
        Backend(
            name="e",
            url="http://far",
            type="openai",
            api_key="k",
            priority=10,
            parallel=4,
            remote=True,
        ),
    ]
    assert config.workers == 22


def test_endpoints_do_not_count_unless_remote_scheduling_is_enabled() -> None:
    off = RemoteScheduling(endpoints=[Endpoint(name="a", base_url=HERE)])

    assert [b.name for b in Config(remote_scheduling=off).all_backends] == ["ollama"]


def test_secrets_do_not_reach_a_log() -> None:
    url = "http://me:secret@far/v1?key=secret"
    config = Config(
        backends=[Backend(name="b", url=url, api_key="secret")],
        remote_scheduling=RemoteScheduling(
            endpoints=[Endpoint(name="e", base_url=url, api_key="secret")]
        ),
    )

    assert "secret" not in repr(config)
    assert "secret" not in repr(config.all_backends)
