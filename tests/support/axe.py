"""axe-core, which finds what people with a screen reader or weak eyes would stumble over.

It is taken from npm when it is first asked for, into `build/axe`, and is part of nothing that
users get.
"""

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

VERSION = "4.14.1"
FOLDER = Path(__file__).resolve().parents[2] / "build" / "axe"
FILE = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
ALL = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
COLOURS = {"type": "rule", "values": ["color-contrast"]}


@cache
def source() -> str:
    """Its text. Raises `FileNotFoundError` where there is no npm to get it by."""
    if not FILE.exists():
        if shutil.which("npm") is None:
            raise FileNotFoundError("npm")
        FOLDER.mkdir(parents=True, exist_ok=True)
        options = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        command = ["npm", "install", *options, "--prefix", str(FOLDER), f"axe-core@{VERSION}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return FILE.read_text()


def mistakes(page: Page, rules: dict[str, Any] = ALL) -> list[str]:
    """What is wrong with the page as it is now: the rule, and where."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(source())
    run = "rules => axe.run({runOnly: rules, resultTypes: ['violations']})"
    found: dict[str, Any] = page.evaluate(run, rules)
    return [
        f"{broken['id']}: {node['target']} {' '.join(node['failureSummary'].split())}"
        for broken in found["violations"]
        for node in broken["nodes"]
    ]
