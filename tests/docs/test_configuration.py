"""docs/configuration.md names every setting as it is, and its files load."""

import re

import msgspec
import pytest

from ollama_queue.actors.core.config.config import (
    Backend,
    Config,
    Endpoint,
    KeySettings,
    ModelSettings,
    Webhook,
)
from ollama_queue.actors.embedded.options import config_of
from ollama_queue.actors.settings.settings import ENVIRONMENT, load, trace
from ollama_queue.actors.settings.value_types import KEYS, is_list
from ollama_queue.http.serving.check_config import listing
from tests.support.servers.real_models import ROOT

TEXT = (ROOT / "docs" / "configuration.md").read_text()
ROWS = {
    cells[0].strip("`"): [cell.strip("`") for cell in cells[1:]]
    for line in TEXT.splitlines()
    if line.startswith("| `")
    for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
}


def test_every_setting_has_a_row_with_its_default_and_its_variable() -> None:
    written = listing(trace(None, {}, {}))
    variables = {key: name for name, key in ENVIRONMENT.items()}
    for key, kind in KEYS.items():
        if key not in ("backends", "models", "webhooks"):
            default, variable, words = ROWS[key]
            assert f"{key.rpartition('.')[2]}: {default} " in written, key
            assert variable == variables.get(key, "")
            assert variable or is_list(kind)
            assert words


@pytest.mark.parametrize(
    ("before", "kind"),
    [
        ("backends[]", Backend),
        ("remote_scheduling.endpoints[]", Endpoint),
        ("models.NAME", ModelSettings),
        ("auth.keys[]", KeySettings),
        ("webhooks[]", Webhook),
    ],
)
def test_every_setting_of_a_group_has_a_row(before: str, kind: type[msgspec.Struct]) -> None:
    for field in msgspec.structs.fields(kind):
        default, words = ROWS[f"{before}.{field.name}"]
        assert words
        assert (default == "") == field.required


@pytest.mark.parametrize("text", re.findall(r"^```yaml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE))
def test_its_files_load(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("docs") / "config.yaml"
    path.write_text(text)

    given = {"CLOUD_KEY": "c", "OPENAI_KEY": "k", "ALICE_KEY": "a" * 20}
    given["WEBHOOK_SECRET"] = "whsec_" + "QUJD" * 8
    assert load(str(path), given, {}) != Config()


def test_every_option_of_a_queue_is_named() -> None:
    with pytest.raises(Exception, match="is not an option; the options are ") as caught:
        config_of({"?": 1})
    for name in str(caught.value).partition("the options are ")[2].split(", "):
        assert f"`{name}`" in TEXT
