"""The rules and the dashboard use metrics that exist; README lists them all."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
import yaml
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from ollama_queue.actors.core.activity.measures import FleetMeasures
from ollama_queue.http.native.metrics import page
from tests.support.fakes.model_server import Cut
from tests.support.harness.app import AppHarness
from tests.support.servers.real_models import ROOT

FOLDER = ROOT / "docs" / "monitoring"
RULES = FOLDER / "ollama-queue.rules.yml"
DASHBOARD = FOLDER / "ollama-queue.dashboard.json"
PREFIX = "ollama_queue_"
ELSEWHERE = {"up", "process_resident_memory_bytes"}  # of Prometheus itself, and of its library


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    house = AppHarness(tmp_path_factory.mktemp("monitoring"))
    house.fake.script(Cut())
    house.done()
    house.queue.pause()
    house.submit()
    house.http.get("/metrics")  # from now on the model has counts of its own
    measures = replace(house.queue.measure(), hub_gap_ms=1.0)  # which only a server has
    fleet = FleetMeasures(leads=True, epoch=1, takeovers=1, servers=3)
    yield page(measures, {"idle": 1}, fleet).decode()
    house.close()


@pytest.fixture(scope="module")
def labels(text: str) -> dict[str, set[str]]:
    """The labels of each metric, by the names of its samples."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        found.setdefault(family.name, set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return {**found, **{name + "_total": set() for name in found if name + "_total" not in found}}


def expressions() -> Iterator[str]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def test_each_metric_of_rules_and_dashboard_exists(labels: dict[str, set[str]]) -> None:
    names = {name for each in expressions() for name in re.findall(r"\bollama_queue_\w+", each)}

    assert names - labels.keys() == set()
    others = {name for each in expressions() for name in re.findall(r"\b(up|process_\w+)", each)}
    assert others <= ELSEWHERE


@pytest.mark.parametrize("expression", list(expressions()))
def test_each_label_of_rules_and_dashboard_exists(
    expression: str, labels: dict[str, set[str]]
) -> None:
    of_metrics = set[str]().union(
        *(labels[name] for name in re.findall(r"\bollama_queue_\w+", expression))
    )
    used = set(re.findall(r'(\w+)="', expression))
    for listed in re.findall(r"by \(([^)]*)\)", expression):
        used |= {name.strip() for name in listed.split(",")}

    assert used - of_metrics - {"job"} == set()


def test_the_readme_has_each_metric(text: str) -> None:
    readme = (FOLDER / "README.md").read_text()
    table = readme[readme.index("| metric |") :]
    told = {f"{PREFIX}{name}" for name in re.findall(r"`(\w+)`", table)}
    families = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families(text)
        if family.name.startswith(PREFIX)
    }
    families = {f"{name}_info" if name.endswith("build") else name for name in families}

    assert families - told == set()


def test_promtool_takes_the_rules() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool, of Debian's package prometheus")
    done = subprocess.run([promtool, "check", "rules", str(RULES)], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_metrics(text: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool, of Debian's package prometheus")
    own = [line for line in text.splitlines(keepends=True) if PREFIX in line]
    done = subprocess.run(
        [promtool, "check", "metrics"], input="".join(own), capture_output=True, text=True
    )

    assert "error" not in (done.stdout + done.stderr).lower()


def test_the_dashboard_has_no_two_panels_in_one_place() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    places = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
