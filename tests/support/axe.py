"""axe-core, which finds what people with a screen reader or weak eyes would stumble over."""

from typing import Any

from playwright.sync_api import Page

from tests.support.servers.installed_clients import node_folder

ALL = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
COLOURS = {"type": "rule", "values": ["color-contrast"]}


def source() -> str:
    """Its text. Raises `FileNotFoundError` where there is no npm to get it by."""
    return (node_folder() / "node_modules/axe-core/axe.min.js").read_text()


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
