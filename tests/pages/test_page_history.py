"""The History: charts over a span, usage by group, and who changed what."""

import re

from playwright.sync_api import expect

from tests.support.harness.page import BrowserTab


def test_history_shows_what_happened_and_what_was_used(tab: BrowserTab) -> None:
    tab.wait_for(tab.submit_chat("one for the history", tags=["yearly"]))
    periods = tab.client.get_history("72h")
    tab.open("history")
    finished = tab.page.get_by_role("region", name="Finished tasks")
    completed = sum(period.completed for period in periods)
    words = re.compile(f"^Last 72 hours: {completed} completed")
    expect(finished.get_by_role("img", name=words)).to_be_visible()
    expect(finished.locator("svg title")).to_have_count(72)
    for name in ("Time to start", "Time to run"):
        chart = tab.page.get_by_role("region", name=name).get_by_role("img")
        expect(chart).to_have_accessible_name(re.compile("^Last 72 hours: .* at most"))
    usage = tab.page.get_by_role("region", name="Usage by model")
    expect(usage.get_by_role("rowheader", name="smollm2", exact=True)).to_be_visible()

    tab.page.get_by_label("Usage by").first.select_option("tag")
    usage = tab.page.get_by_role("region", name="Usage by tag")
    row = usage.get_by_role("row", name=re.compile("^yearly"))
    expect(row.locator(".amount").nth(1)).to_have_text("1")
    tab.page.get_by_label("Span").select_option("90d")
    expect(finished.locator("svg title")).to_have_count(90)
    assert tab.page.url.endswith("#/history?span=90d&by=tag")


def test_changes_say_who_made_them_and_from_where(tab: BrowserTab) -> None:
    tab.open()
    tab.button("Pause the queue").click()
    tab.confirm("Pause")
    tab.button("Resume", tab.page.locator(".banner.paused")).click()
    tab.open("history")
    changes = tab.page.get_by_role("region", name="Changes")
    newest = changes.get_by_role("row").nth(1)
    expect(newest).to_contain_text("page 127.0.0.1")
    expect(newest).to_contain_text("resume")
    expect(changes.get_by_role("row").nth(2)).to_contain_text("pause")


def test_an_address_that_is_wrong_shows_the_usual_span(tab: BrowserTab) -> None:
    tab.open("history?span=9h&by=title")

    expect(tab.page.get_by_label("Span")).to_have_value("72h")
    expect(tab.page.get_by_role("region", name="Usage by model")).to_be_visible()
