"""The Crons view: each of its actions, as a user does it."""

import re

from playwright.sync_api import Locator, expect

from tests.support.harness.page import BrowserTab

HOURLY = {
    "cron_expr": "0 * * * *",
    "task_template": {
        "type": "chat",
        "model": "smollm2",
        "messages": [{"role": "user", "content": "Good hour"}],
    },
}


def add(tab: BrowserTab, name: str, **fields: object) -> str:
    return tab.client.add_cron_task({**HOURLY, "name": name, **fields})


def form(tab: BrowserTab) -> Locator:
    return tab.page.get_by_role("form")


def test_a_cron_is_made_with_its_next_times_in_sight(tab: BrowserTab) -> None:
    tab.open("crons")
    tab.page.get_by_role("link", name="New cron").click()
    expect(tab.field("Name")).to_be_focused()
    tab.field("Name").fill("morning news")
    tab.field("Time zone").fill("UTC")
    tab.field("Schedule").fill("30 6 * * *")
    times = form(tab).locator(".next-times li")
    expect(times).to_have_count(5)
    expect(times.first.locator("time")).to_have_attribute("title", re.compile(r"06:30:00 UTC"))
    tab.field("Model").fill("qwen3")
    tab.field("System").fill("Be brief.")
    tab.field("Message 1").fill("What is new?")
    tab.field("Priority").select_option("10 high")
    form(tab).locator("summary").click()
    tab.field("Tags").fill("news, daily")
    tab.button("Create cron").click()
    tab.expect_toast("Created. Next run:")
    expect(tab.panel().get_by_role("heading", name="morning news")).to_be_visible()
    expect(tab.table_row("morning news")).to_contain_text("30 6 * * *")
    [cron] = [each for each in tab.client.list_cron_tasks() if each.name == "morning news"]
    assert cron.timezone == "UTC"
    assert cron.task_template.payload == {
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "What is new?"}],
    }
    assert (cron.task_template.priority, cron.task_template.tags) == (10, ["news", "daily"])


def test_what_is_wrong_is_said_beside_its_field(tab: BrowserTab) -> None:
    tab.open("crons/new")
    tab.field("Schedule").fill("61 * * * *")
    wrong = form(tab).locator(".field.is-wrong")
    expect(wrong).to_have_count(1)
    expect(wrong.locator("label")).to_have_text("Schedule")
    expect(tab.field("Schedule")).to_have_attribute("aria-invalid", "true")
    tab.field("Schedule").fill("0 9 * * 1-5")
    expect(wrong).to_have_count(0)
    tab.field("Time zone").fill("Mars/Olympus")
    expect(wrong.locator("label")).to_have_text("Time zone")
    tab.field("Time zone").fill("Europe/Berlin")
    expect(form(tab).locator(".next-times li")).to_have_count(5)
    tab.field("Message 1").fill("Anything")
    for label, answer in (("Name", "nameless no more"), ("Model", "smollm2")):
        tab.button("Create cron").click()
        expect(wrong.locator("label")).to_have_text(label)
        tab.field(label).fill(answer)
    form(tab).locator("summary").click()
    tab.field("More options (JSON)").fill("{seed: 1}")
    tab.button("Create cron").click()
    expect(wrong.locator(".error")).to_contain_text("This must be JSON")
    tab.field("More options (JSON)").fill('{"seed": 1}')
    tab.field("Retries").fill("-2")
    tab.button("Create cron").click()
    expect(wrong.locator("label")).to_have_text("Retries")
    tab.field("Retries").fill("2")
    tab.button("Create cron").click()
    tab.expect_toast("Created")


def test_a_cron_is_changed_and_keeps_what_the_form_does_not_show(tab: BrowserTab) -> None:
    template = {
        "type": "generate",
        "model": "smollm2",
        "prompt": "Old",
        "format": "json",
        "backend": "ollama",
    }
    cron_id = add(tab, "to change", task_template=template)
    tab.open(f"crons/{cron_id}")
    tab.button("Edit").click()
    tab.field("Name").fill("changed")
    tab.field("Prompt").fill("New")
    tab.field("If the previous run has not finished").select_option("skip this run")
    tab.field("Runs missed while the queue is down").select_option("run once")
    tab.button("Save").click()
    tab.expect_toast("Saved")
    cron = tab.client.get_cron_task(cron_id)
    assert (cron.name, cron.overlap, cron.missed) == ("changed", "skip", "once")
    assert cron.task_template.payload == {"prompt": "New", "format": "json"}
    assert cron.task_template.backend == "ollama"
    expect(tab.panel()).to_contain_text("skips this run")


def test_the_type_of_its_task_changes(tab: BrowserTab) -> None:
    cron_id = add(tab, "to embed")
    tab.open(f"crons/{cron_id}?edit=1")
    tab.field("Type").select_option("embed")
    tab.field("Model").fill("nomic-embed-text")
    tab.field("Texts").fill("one\n\ntwo")
    tab.button("Save").click()
    tab.expect_toast("Saved")
    template = tab.client.get_cron_task(cron_id).task_template
    assert (template.type, template.payload) == ("embed", {"input": ["one", "two"]})


def test_run_now_shows_its_task_as_it_goes(tab: BrowserTab) -> None:
    cron_id = add(tab, "to run now")
    tab.open(f"crons/{cron_id}")
    expect(tab.panel()).to_contain_text("No tasks yet")
    tab.button("Run now").click()
    latest = tab.panel().locator(".latest li")
    expect(latest).to_have_count(1)
    expect(latest).to_contain_text("completed")
    expect(tab.table_row("to run now").locator(".l-count")).to_have_text("1")
    tab.panel().get_by_role("link", name="View all its tasks").click()
    expect(tab.page).to_have_url(re.compile(f"#/tasks\\?cron_id={cron_id}"))


def test_disable_enable_and_remove(tab: BrowserTab) -> None:
    cron_id = add(tab, "to switch")
    tab.open(f"crons/{cron_id}")
    tab.button("Disable").click()
    expect(tab.table_row("to switch")).to_contain_text("disabled")
    assert not tab.client.get_cron_task(cron_id).enabled
    tab.button("Enable").click()
    expect(tab.table_row("to switch")).not_to_contain_text("disabled")
    switch = tab.page.get_by_role("switch", name="to switch is enabled")
    switch.click()
    expect(switch).not_to_be_checked()
    switch.click()
    expect(switch).to_be_checked()
    tab.button("Remove").click()
    tab.button("Cancel").click()
    expect(tab.page.get_by_role("dialog")).to_have_count(0)
    expect(tab.table_row("to switch")).to_have_count(1)
    tab.button("Remove").click()
    tab.confirm("Remove")
    expect(tab.table_row("to switch")).to_have_count(0)
    expect(tab.page).to_have_url(re.compile("#/crons$"))


def test_what_others_do_is_seen_at_once(tab: BrowserTab) -> None:
    tab.open("crons")
    cron_id = add(tab, "of another")
    expect(tab.table_row("of another")).to_have_count(1)
    tab.client.disable_cron_task(cron_id)
    expect(tab.table_row("of another")).to_contain_text("disabled")
    tab.client.remove_cron_task(cron_id)
    expect(tab.table_row("of another")).to_have_count(0)


def test_back_leaves_the_form_and_then_the_cron(tab: BrowserTab) -> None:
    cron_id = add(tab, "to come back to")
    tab.open("crons")
    tab.table_row("to come back to").locator(".l-name a").click()
    tab.button("Edit").click()
    expect(form(tab)).to_be_visible()
    tab.page.go_back()
    expect(tab.button("Edit")).to_be_visible()
    tab.page.go_back()
    expect(tab.panel()).to_have_count(0)
    tab.page.go_forward()
    expect(tab.page).to_have_url(re.compile(f"#/crons/{cron_id}$"))
    expect(tab.button("Edit")).to_be_visible()


def test_a_cron_that_is_gone_says_so(tab: BrowserTab) -> None:
    tab.open("crons/none-such")
    expect(tab.panel()).to_contain_text("Cron not found")


def test_runs_while_another_view_was_shown_are_in_the_list(tab: BrowserTab) -> None:
    cron_id = add(tab, "seen again")
    tab.open(f"crons/{cron_id}")
    expect(tab.table_row("seen again").locator(".l-count")).to_have_text("0")
    tab.page.get_by_role("link", name="Overview").click()
    completed = tab.page.locator(".tile", has_text="completed").locator("strong")
    before = int(completed.inner_text())
    tab.wait_for(tab.client.run_cron_task(cron_id).task_id)
    expect(completed).to_have_text(str(before + 1))  # the page has heard of it
    tab.page.go_back()
    expect(tab.table_row("seen again").locator(".l-count")).to_have_text("1")
    expect(tab.panel().locator(".status.completed")).to_have_count(1)
