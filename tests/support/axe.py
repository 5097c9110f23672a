"""axe-core, which finds accessibility problems in a page."""

from typing import Any

from playwright.sync_api import Page

from tests.support.servers.installed_clients import node_folder

ALL = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
COLOURS = {"type": "rule", "values": ["color-contrast"]}


def source() -> str:
    """The source of axe-core. Raises `FileNotFoundError` without npm."""
    return (node_folder() / "node_modules/axe-core/axe.min.js").read_text()


def violations(page: Page, rules: dict[str, Any] = ALL) -> list[str]:
    """The rules that the page violates now, and where."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(source())
    run = "rules => axe.run({runOnly: rules, resultTypes: ['violations']})"
    report: dict[str, Any] = page.evaluate(run, rules)
    return [
        f"{violation['id']}: {node['target']} {' '.join(node['failureSummary'].split())}"
        for violation in report["violations"]
        for node in violation["nodes"]
    ]
