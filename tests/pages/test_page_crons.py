"""The Crons view: each of its actions, as a user does it."""

import re

from playwright.sync_api import Locator, expect

from tests.support.harness.page import Visit

HOURLY = {
    "cron_expr": "0 * * * *",
    "task_template": {
        "type": "chat",
        "model": "smollm2",
        "messages": [{"role": "user", "content": "Good hour"}],
    },
}


def add(visit: Visit, name: str, **fields: object) -> str:
    return visit.client.add_cron_task({**HOURLY, "name": name, **fields})


def form(visit: Visit) -> Locator:
    return visit.page.get_by_role("form")


def test_a_cron_is_made_with_its_next_times_in_sight(visit: Visit) -> None:
    visit.open("crons")
    visit.page.get_by_role("link", name="New cron").click()
    expect(visit.field("Name")).to_be_focused()
    visit.field("Name").fill("morning news")
    visit.field("Time zone").fill("UTC")
    visit.field("Schedule").fill("30 6 * * *")
    times = form(visit).locator(".next-times li")
    expect(times).to_have_count(5)
    expect(times.first.locator("time")).to_have_attribute("title", re.compile(r"06:30:00 UTC"))
    visit.field("Model").fill("qwen3")
    visit.field("System").fill("Be brief.")
    visit.field("Message 1").fill("What is new?")
    visit.field("Priority").select_option("10 high")
    form(visit).locator("summary").click()
    visit.field("Tags").fill("news, daily")
    visit.button("Create cron").click()
    visit.said("Created. Next run:")
    expect(visit.panel().get_by_role("heading", name="morning news")).to_be_visible()
    expect(visit.line("morning news")).to_contain_text("30 6 * * *")
    [cron] = [each for each in visit.client.list_cron_tasks() if each.name == "morning news"]
    assert cron.timezone == "UTC"
    assert cron.task_template.payload == {
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "What is new?"}],
    }
    assert (cron.task_template.priority, cron.task_template.tags) == (10, ["news", "daily"])


def test_what_is_wrong_is_said_beside_its_field(visit: Visit) -> None:
    visit.open("crons/new")
    visit.field("Schedule").fill("61 * * * *")
    wrong = form(visit).locator(".field.is-wrong")
    expect(wrong).to_have_count(1)
    expect(wrong.locator("label")).to_have_text("Schedule")
    expect(visit.field("Schedule")).to_have_attribute("aria-invalid", "true")
    visit.field("Schedule").fill("0 9 * * 1-5")
    expect(wrong).to_have_count(0)
    visit.field("Time zone").fill("Mars/Olympus")
    expect(wrong.locator("label")).to_have_text("Time zone")
    visit.field("Time zone").fill("Europe/Berlin")
    expect(form(visit).locator(".next-times li")).to_have_count(5)
    visit.field("Message 1").fill("Anything")
    for label, answer in (("Name", "nameless no more"), ("Model", "smollm2")):
        visit.button("Create cron").click()
        expect(wrong.locator("label")).to_have_text(label)
        visit.field(label).fill(answer)
    form(visit).locator("summary").click()
    visit.field("More options (JSON)").fill("{seed: 1}")
    visit.button("Create cron").click()
    expect(wrong.locator(".error")).to_contain_text("This must be JSON")
    visit.field("More options (JSON)").fill('{"seed": 1}')
    visit.field("Retries").fill("-2")
    visit.button("Create cron").click()
    expect(wrong.locator("label")).to_have_text("Retries")
    visit.field("Retries").fill("2")
    visit.button("Create cron").click()
    visit.said("Created")


def test_a_cron_is_changed_and_keeps_what_the_form_does_not_show(visit: Visit) -> None:
    template = {
        "type": "generate",
        "model": "smollm2",
        "prompt": "Old",
        "format": "json",
        "backend": "ollama",
    }
    cron_id = add(visit, "to change", task_template=template)
    visit.open(f"crons/{cron_id}")
    visit.button("Edit").click()
    visit.field("Name").fill("changed")
    visit.field("Prompt").fill("New")
    visit.field("If the previous run has not finished").select_option("skip this run")
    visit.field("Runs missed while the queue is down").select_option("run once")
    visit.button("Save").click()
    visit.said("Saved")
    cron = visit.client.get_cron_task(cron_id)
    assert (cron.name, cron.overlap, cron.missed) == ("changed", "skip", "once")
    assert cron.task_template.payload == {"prompt": "New", "format": "json"}
    assert cron.task_template.backend == "ollama"
    expect(visit.panel()).to_contain_text("skips this run")


def test_the_type_of_its_task_changes(visit: Visit) -> None:
    cron_id = add(visit, "to embed")
    visit.open(f"crons/{cron_id}?edit=1")
    visit.field("Type").select_option("embed")
    visit.field("Model").fill("nomic-embed-text")
    visit.field("Texts").fill("one\n\ntwo")
    visit.button("Save").click()
    visit.said("Saved")
    template = visit.client.get_cron_task(cron_id).task_template
    assert (template.type, template.payload) == ("embed", {"input": ["one", "two"]})


def test_run_now_shows_its_task_as_it_goes(visit: Visit) -> None:
    cron_id = add(visit, "to run now")
    visit.open(f"crons/{cron_id}")
    expect(visit.panel()).to_contain_text("No tasks yet")
    visit.button("Run now").click()
    latest = visit.panel().locator(".latest li")
    expect(latest).to_have_count(1)
    expect(latest).to_contain_text("completed")
    expect(visit.line("to run now").locator(".l-count")).to_have_text("1")
    visit.panel().get_by_role("link", name="View all its tasks").click()
    expect(visit.page).to_have_url(re.compile(f"#/tasks\\?cron_id={cron_id}"))


def test_disable_enable_and_remove(visit: Visit) -> None:
    cron_id = add(visit, "to switch")
    visit.open(f"crons/{cron_id}")
    visit.button("Disable").click()
    expect(visit.line("to switch")).to_contain_text("disabled")
    assert not visit.client.get_cron_task(cron_id).enabled
    visit.button("Enable").click()
    expect(visit.line("to switch")).not_to_contain_text("disabled")
    switch = visit.page.get_by_role("switch", name="to switch is enabled")
    switch.click()
    expect(switch).not_to_be_checked()
    switch.click()
    expect(switch).to_be_checked()
    visit.button("Remove").click()
    visit.button("Cancel").click()
    expect(visit.page.get_by_role("dialog")).to_have_count(0)
    expect(visit.line("to switch")).to_have_count(1)
    visit.button("Remove").click()
    visit.confirm("Remove")
    expect(visit.line("to switch")).to_have_count(0)
    expect(visit.page).to_have_url(re.compile("#/crons$"))


def test_what_others_do_is_seen_at_once(visit: Visit) -> None:
    visit.open("crons")
    cron_id = add(visit, "of another")
    expect(visit.line("of another")).to_have_count(1)
    visit.client.disable_cron_task(cron_id)
    expect(visit.line("of another")).to_contain_text("disabled")
    visit.client.remove_cron_task(cron_id)
    expect(visit.line("of another")).to_have_count(0)


def test_back_leaves_the_form_and_then_the_cron(visit: Visit) -> None:
    cron_id = add(visit, "to come back to")
    visit.open("crons")
    visit.line("to come back to").locator(".l-name a").click()
    visit.button("Edit").click()
    expect(form(visit)).to_be_visible()
    visit.page.go_back()
    expect(visit.button("Edit")).to_be_visible()
    visit.page.go_back()
    expect(visit.panel()).to_have_count(0)
    visit.page.go_forward()
    expect(visit.page).to_have_url(re.compile(f"#/crons/{cron_id}$"))
    expect(visit.button("Edit")).to_be_visible()


def test_a_cron_that_is_gone_says_so(visit: Visit) -> None:
    visit.open("crons/none-such")
    expect(visit.panel()).to_contain_text("Cron not found")


def test_runs_while_another_view_was_shown_are_in_the_list(visit: Visit) -> None:
    cron_id = add(visit, "seen again")
    visit.open(f"crons/{cron_id}")
    expect(visit.line("seen again").locator(".l-count")).to_have_text("0")
    visit.page.get_by_role("link", name="Overview").click()
    completed = visit.page.locator(".tile", has_text="completed").locator("strong")
    before = int(completed.inner_text())
    visit.ended(visit.client.run_cron_task(cron_id).task_id)
    expect(completed).to_have_text(str(before + 1))  # the page has heard of it
    visit.page.go_back()
    expect(visit.line("seen again").locator(".l-count")).to_have_text("1")
    expect(visit.panel().locator(".status.completed")).to_have_count(1)
