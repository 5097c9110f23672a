"""Pinned models: when they are loaded, and which models stay away from them."""

from collections.abc import Collection

from hypothesis import given
from hypothesis import strategies as some

from ollama_queue.actors.core.config.config import Backend, RemoteScheduling
from ollama_queue.actors.core.model.outcomes import ProbeResult
from ollama_queue.actors.core.routing.pins import AGAIN_S, MOST_S, Pins
from ollama_queue.actors.core.routing.placement import Gates, gates_of
from ollama_queue.actors.core.routing.routes import Route

NOW = 1000.0
MODELS = frozenset({"small", "big", "other"})


def missing(pins: Pins, *loaded: str, now: float = NOW) -> list[str]:
    return pins.missing(loaded, lambda model: True, now)


# --- when they are loaded -----------------------------------------------------------------------


def test_a_missing_model_is_loaded_once() -> None:
    pins = Pins(["Small:latest", "other"])

    assert missing(pins, "other") == ["Small:latest"]
    assert missing(pins, "other") == []  # under way


def test_a_model_that_the_server_does_not_have_waits() -> None:
    pins = Pins(["small"])

    assert pins.missing((), lambda model: False, NOW) == []
    assert missing(pins) == ["small"]


def test_a_model_that_the_server_does_not_have_is_told_once_until_it_goes_again() -> None:
    pins = Pins(["Small:latest", "other"])
    has: set[str] = {"other"}

    assert pins.newly_absent(has.__contains__) == ["Small:latest"]
    assert pins.newly_absent(has.__contains__) == []
    has.add("small")
    assert pins.newly_absent(has.__contains__) == []
    has.clear()
    assert pins.newly_absent(has.__contains__) == ["Small:latest", "other"]


def test_a_failed_load_is_repeated_later_and_later() -> None:
    pins, now = Pins(["small"]), NOW
    waits = []
    for _ in range(8):
        assert missing(pins, now=now) == ["small"]
        pins.kept("small", failed=True, now=now)
        started = now
        while not pins.missing((), lambda model: True, now):
            now += AGAIN_S / 2
        waits.append(now - started)
        pins.kept("small", failed=True, now=started)
        now = started + MOST_S

    assert waits[0] == AGAIN_S and max(waits) == MOST_S and waits == sorted(waits)


def test_a_lost_model_is_loaded_again_no_sooner_than_it_may() -> None:
    pins = Pins(["small"])
    assert missing(pins) == ["small"]
    pins.kept("small", failed=False, now=NOW)

    assert missing(pins, now=NOW + AGAIN_S - 1) == []
    assert missing(pins, now=NOW + AGAIN_S) == ["small"]


def test_the_clock_may_be_set_meanwhile() -> None:
    pins = Pins(["small"])
    missing(pins)
    pins.kept("small", failed=False, now=NOW)
    pins.clock_set(-500.0)

    assert missing(pins, now=NOW - 500 + AGAIN_S) == ["small"]


# --- which models displace them -----------------------------------------------------------------


def seen(pins: Pins, *probes: Collection[str]) -> Pins:
    for loaded in probes:
        pins.take_probe(loaded, is_new=False)
    return pins


def test_a_model_that_came_when_a_pinned_one_went_displaces_it() -> None:
    pins = seen(Pins(["small"]), {"small"}, {"big"})

    assert pins.displacing == {"big"}
    assert not pins.withstand("small", "big") and pins.withstand("small", "other")


def test_a_model_that_fits_beside_it_does_not() -> None:
    assert seen(Pins(["small"]), {"small"}, {"small", "big"}).displacing == frozenset()
    assert seen(Pins(["small"]), {"small"}, {"big"}, {"small", "big"}).displacing == frozenset()


def test_a_model_that_was_unloaded_is_not_displaced() -> None:
    assert seen(Pins(["small"]), {"small"}, set(), {"big"}).displacing == frozenset()


def test_another_server_at_the_same_address_is_judged_anew() -> None:
    pins = seen(Pins(["small"]), {"small"}, {"big"})
    pins.take_probe({"big"}, is_new=True)

    assert pins.displacing == frozenset()


def probed(gates: Gates, name: str, *loaded: str) -> None:
    gate = gates.get(name)
    assert gate is not None
    gate.take_probe(ProbeResult(models=MODELS, loaded=frozenset(loaded)))


def fleet() -> Gates:
    backends = [Backend(name=name, url="http://x", parallel=2) for name in ("gpu1", "gpu2")]
    gates = gates_of(backends, RemoteScheduling(), {"gpu1": ["small"]})
    probed(gates, "gpu1", "small")
    probed(gates, "gpu2")
    return gates


def test_what_displaces_a_pinned_model_runs_elsewhere_even_if_that_is_busy() -> None:
    gates = fleet()
    probed(gates, "gpu1", "big")
    lane = gates.lane(Route("big"))
    _, gpu2 = gates
    gpu2.running = gpu2.parallel

    assert lane.usable(NOW) == (gpu2,)
    assert not lane.is_open(NOW)


def test_where_no_other_server_is_available_it_runs_all_the_same() -> None:
    gates = fleet()
    probed(gates, "gpu1", "big")
    lane = gates.lane(Route("big"))
    gpu1, gpu2 = gates
    gpu2.mark_unhealthy("away")

    assert lane.usable(NOW) == (gpu2, gpu1)
    assert lane.is_open(NOW)
    assert gates.lane(Route("big", backend="gpu1")).usable(NOW) == (gpu1,)


def test_other_models_prefer_a_server_without_pinned_ones() -> None:
    gates = fleet()
    route = Route("other")
    chosen = gates.choose(gates.lane(route), route, None, 0, NOW)

    assert chosen is gates.get("gpu2")
    small = Route("small")
    assert gates.choose(gates.lane(small), small, None, 0, NOW) is gates.get("gpu1")


def test_a_pinned_model_counts_as_loaded_when_another_one_is() -> None:
    gates = fleet()
    gpu1, _ = gates
    gpu1.load("other", "", frozenset())

    assert gpu1.has_loaded("small", "")


@given(some.lists(some.frozensets(some.sampled_from(sorted(MODELS))), max_size=12))
def test_a_pinned_model_displaces_no_pinned_model_and_none_is_displaced_that_is_there(
    probes: list[frozenset[str]],
) -> None:
    pins = Pins(["small"])
    for loaded in probes:
        pins.take_probe(loaded, is_new=False)
        assert "small" not in pins.displacing
        if "small" in loaded:
            assert not pins.displacing & loaded
