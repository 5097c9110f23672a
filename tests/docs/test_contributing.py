"""CONTRIBUTING's answers name files that are there."""

import re

from tests.support.servers.real_models import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def test_where_is_what_names_files_that_are_there() -> None:
    rows = re.findall(r"^\| [^|]+\? \| (.+) \|$", TEXT, re.MULTILINE)
    assert len(rows) >= 10
    for row in rows:
        folder = ROOT
        for name in re.findall(r"`([\w/]+\.py)`", row):
            folder = (ROOT / name).parent if "/" in name else folder
            assert (folder / name.rpartition("/")[2]).is_file(), name
