"""The Tasks view: finding tasks, and doing something to many."""

import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Locator, expect

from ollama_queue import generate_task
from tests.support.fakes.behaviours import Answer, Stream
from tests.support.harness.page import BrowserTab, Replies


def rows(tab: BrowserTab) -> Locator:
    return tab.page.locator("tr.task-row")


def later(tab: BrowserTab, text: str, **fields: object) -> str:
    """A task that stays pending."""
    return tab.submit_chat(text, scheduled_at="2031-01-01T00:00:00Z", **fields)


def test_tasks_come_and_change_as_they_do(tab: BrowserTab, replies: Replies) -> None:
    gate = threading.Event()
    replies.when("gated", Stream(gate=gate))
    tab.open("tasks?tag=live")
    expect(tab.page.locator("main")).to_contain_text("No matching tasks")
    tab.submit_chat("gated reply", tags=["live"])
    expect(rows(tab)).to_have_count(1)
    expect(rows(tab)).to_contain_text("running")
    gate.set()
    expect(rows(tab)).to_contain_text("completed")


def test_filters_narrow_the_list_and_are_in_the_address(tab: BrowserTab, replies: Replies) -> None:
    replies.when("unlucky", Answer(400, {"error": "no luck"}))
    tag = ["filters"]
    good = tab.submit_chat("good one", tags=tag)
    bad = tab.submit_chat("unlucky one", tags=tag, model="qwen3")
    high = later(tab, "high one", tags=tag, priority=10)
    tab.wait_for(good, bad)
    tab.open("tasks?tag=filters")
    expect(rows(tab)).to_have_count(3)
    toggles = tab.page.get_by_role("group", name="Status")
    tab.button("failed", toggles).click()
    expect(rows(tab)).to_have_count(1)
    expect(rows(tab)).to_contain_text("no luck")
    tab.button("completed", toggles).click()
    expect(rows(tab)).to_have_count(2)
    expect(tab.page).to_have_url(re.compile("status=failed&status=completed"))
    tab.page.go_back()
    expect(rows(tab)).to_have_count(1)
    tab.page.reload()
    expect(rows(tab)).to_have_count(1)
    tab.open("tasks?tag=filters")
    tab.page.get_by_role("button", name=re.compile("^Filters")).click()
    tab.field("Priority").first.select_option("10 high")
    expect(rows(tab)).to_have_count(1)
    expect(rows(tab)).to_contain_text("high one")
    tab.field("Priority").first.select_option("any")
    tab.field("Model").fill("qwen3")
    tab.field("Model").press("Enter")
    expect(rows(tab)).to_have_count(1)
    expect(rows(tab)).to_contain_text("unlucky one")
    tab.client.cancel_task(high)


def test_a_filter_that_is_being_typed_is_left_alone(tab: BrowserTab) -> None:
    """What happens meanwhile draws the page anew."""
    tab.open("tasks?tag=typing")
    tab.page.get_by_role("button", name=re.compile("^Filters")).click()
    tab.field("Model").fill("qwe")
    task_id = later(tab, "comes meanwhile", tags=["typing"], model="qwen3")
    expect(rows(tab)).to_have_count(1)
    expect(tab.field("Model")).to_have_value("qwe")
    tab.field("Model").press_sequentially("n3")
    tab.field("Model").press("Enter")
    expect(tab.page).to_have_url(re.compile("model=qwen3"))
    expect(rows(tab)).to_contain_text("comes meanwhile")
    tab.client.cancel_task(task_id)


def test_filters_by_type_and_time(tab: BrowserTab) -> None:
    tab.wait_for(tab.submit_chat("by time", tags=["timed"]))
    tab.open("tasks?tag=timed&type=embed")
    expect(tab.page.locator("main")).to_contain_text("No matching tasks")
    tab.open("tasks?tag=timed&type=chat")
    expect(rows(tab)).to_have_count(1)
    tab.open("tasks?tag=timed&until=2020-01-01T00:00:00Z")
    expect(tab.page.locator("main")).to_contain_text("No matching tasks")
    tab.page.get_by_role("link", name="Clear all filters").click()
    expect(rows(tab).first).to_be_visible()


def test_search_finds_text_as_it_is_typed(tab: BrowserTab) -> None:
    tab.wait_for(tab.submit_chat("a needle in the hay"), tab.submit_chat("only hay"))
    tab.open("tasks")
    tab.page.keyboard.press("/")
    search = tab.page.get_by_role("searchbox")
    expect(search).to_be_focused()
    search.press_sequentially("needle in")
    expect(rows(tab)).to_have_count(1)
    expect(tab.page).to_have_url(re.compile(r"q=needle\+in"))


def test_the_list_is_sorted(tab: BrowserTab) -> None:
    ids = [later(tab, f"sorted {level}", tags=["sorted"], priority=level) for level in (5, 15, 1)]
    tab.open("tasks?tag=sorted")
    expect(rows(tab).locator(".c-title a")).to_have_text(["sorted 1", "sorted 15", "sorted 5"])
    tab.page.get_by_label("Sort by").select_option("priority")
    expect(rows(tab).locator(".c-title a")).to_have_text(["sorted 15", "sorted 5", "sorted 1"])
    expect(tab.page).to_have_url(re.compile("sort=priority"))
    tab.client.cancel_tasks(ids=ids)


def test_a_priority_is_changed_in_place(tab: BrowserTab) -> None:
    task_id = later(tab, "to raise", tags=["raise"])
    tab.open("tasks?tag=raise")
    rows(tab).get_by_role("button", name="change the priority").click()
    rows(tab).get_by_role("combobox", name="Priority").select_option("15 critical")
    tab.expect_toast("Priority set to 15")
    expect(rows(tab)).to_contain_text("15 critical")
    assert tab.client.get_task(task_id).priority == 15
    tab.client.cancel_task(task_id)


@pytest.mark.parametrize(("count", "tag"), [(3, "chosen"), (320, "matching")])
def test_many_are_cancelled_retried_and_deleted(tab: BrowserTab, count: int, tag: str) -> None:
    """Those chosen, and all that match where there are more than one has scrolled to."""
    for number in range(count):
        later(tab, f"{tag} {number}", tags=[tag])
    tab.open(f"tasks?tag={tag}")
    expect(rows(tab).first).to_be_visible()

    def choose_all() -> None:
        tab.page.get_by_role("checkbox", name=re.compile("^Select all", re.I)).click()
        if count > 200:
            tab.page.get_by_role("button", name="Select all that match").click()
            expect(tab.page.get_by_role("toolbar")).to_contain_text("All that match selected")
            expect(tab.page.get_by_role("button", name=re.compile(" match$"))).to_have_count(0)

    def act(word: str) -> None:
        bar = tab.page.get_by_role("toolbar")
        bar.get_by_role("button", name=re.compile(f"^{word}")).click()
        question = tab.page.get_by_role("dialog").get_by_role("heading")
        expect(question).to_have_text(f"{word} {count} tasks?")
        tab.confirm(word)

    choose_all()
    bar = tab.page.get_by_role("toolbar")
    bar.get_by_label("Priority of selected tasks").select_option("10 high")
    if count > 200:
        tab.confirm(f"Change {count}")
    tab.expect_toast(f"{count} tasks changed")
    assert {task.priority for task in tab.client.list_tasks({"tag": tag, "limit": 1000})} == {10}
    choose_all()
    act("Cancel")
    tab.expect_toast(f"{count} tasks cancelled")
    expect(rows(tab).first).to_contain_text("cancelled")
    choose_all()
    act("Retry")
    tab.expect_toast(f"{count} tasks queued again")
    choose_all()
    act("Cancel")
    tab.expect_toast(f"{count} tasks cancelled")
    expect(rows(tab).first).to_contain_text("cancelled")
    choose_all()
    act("Delete")
    tab.expect_toast(f"{count} tasks deleted")
    expect(tab.page.locator("main")).to_contain_text("No matching tasks")
    assert tab.client.list_tasks({"tag": tag}) == []


def test_the_keyboard_finds_opens_and_chooses(tab: BrowserTab) -> None:
    ids = [later(tab, f"by key {number}", tags=["keys"]) for number in range(3)]
    tab.open("overview")
    tab.page.keyboard.press("g")
    tab.page.keyboard.press("t")
    expect(tab.page).to_have_url(re.compile("#/tasks"))
    tab.open("tasks?tag=keys")
    expect(rows(tab)).to_have_count(3)
    tab.page.keyboard.press("j")
    expect(rows(tab).nth(0)).to_be_focused()
    tab.page.keyboard.press("j")
    expect(rows(tab).nth(1)).to_be_focused()
    tab.page.keyboard.press("Enter")
    expect(tab.panel().get_by_role("heading", name="by key 1")).to_be_visible()
    tab.page.keyboard.press("j")
    expect(tab.panel().get_by_role("heading", name="by key 0")).to_be_visible()
    tab.page.keyboard.press("Escape")
    expect(tab.panel()).to_have_count(0)
    tab.page.keyboard.press("x")
    expect(tab.page.get_by_role("toolbar")).to_contain_text("1 selected")
    tab.client.cancel_tasks(ids=ids)


def test_the_list_does_not_move_while_a_task_is_open(tab: BrowserTab) -> None:
    tab.wait_for(*(tab.submit_chat(f"still {number}", tags=["still"]) for number in range(3)))
    tab.open("tasks?tag=still")
    rows(tab).nth(1).locator(".c-title a").click()
    expect(tab.panel()).to_be_visible()
    tab.wait_for(tab.submit_chat("still new", tags=["still"]))
    show = tab.button("Show 1 new")
    expect(show).to_be_visible()
    expect(rows(tab)).to_have_count(3)
    show.click()
    expect(rows(tab)).to_have_count(4)


def test_what_happened_while_another_view_was_shown_is_in_the_list(tab: BrowserTab) -> None:
    page = tab.open("tasks?tag=meanwhile")
    expect(page.locator("main")).to_contain_text("No matching tasks")
    for count in (1, 2):
        page.get_by_role("link", name="Overview").click()
        expect(page.get_by_role("heading", name="Overview")).to_be_attached()
        tab.wait_for(tab.submit_chat("done meanwhile", tags=["meanwhile"]))
        page.go_back()
        expect(rows(tab)).to_have_count(count)
        expect(rows(tab).first).to_contain_text("completed")


def test_the_list_is_where_it_was_after_another_view(tab: BrowserTab) -> None:
    tasks = [generate_task("nobodys", f"row {n:02}", tags=["rows"]) for n in range(60)]
    tab.client.submit_batch(tasks)
    page = tab.open("tasks?tag=rows")
    row = page.locator("tr.task-row", has_text="row 05")
    page.locator(".rows").evaluate("box => { box.scrollTop = box.scrollHeight; }")
    expect(row).to_be_in_viewport()
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_attached()
    page.go_back()
    expect(row).to_be_in_viewport()
    tab.client.cancel_tasks(filter={"tag": ["rows"]})


def test_a_task_that_waits_says_when_it_may_start(tab: BrowserTab) -> None:
    due = datetime.now(UTC) + timedelta(hours=2)
    scheduled = tab.submit_chat("in two hours", scheduled_at=due, tags=["waits"])
    tab.submit_chat("never", model="unheard-of", tags=["waits"])
    task_id = tab.submit_chat("neither", model="unheard-of", tags=["waits"])
    tab.open("tasks?tag=waits")
    expect(rows(tab).filter(has_text="in two hours")).to_contain_text("about 2 h")
    expect(rows(tab).filter(has_text="never")).to_contain_text("next in line")
    expect(rows(tab).filter(has_text="neither")).to_contain_text("2nd in line")
    tab.open(f"task/{task_id}")
    facts = tab.page.locator(".facts")
    expect(facts).to_contain_text(re.compile("a model server: .*, 2nd in line"))
    tab.open(f"task/{scheduled}")
    expect(facts).to_contain_text(re.compile("its scheduled time, .*, about 2 h"))
    tab.client.cancel_tasks(filter={"tag": ["waits"]})


def test_the_estimate_of_a_task_is_of_this_moment(tab: BrowserTab, replies: Replies) -> None:
    """Others end before it: its place is asked for anew, and its words follow."""
    tab.wait_for(tab.submit_chat("how long does it take"))
    gates = [threading.Event() for _ in range(4)]
    for number, gate in enumerate(gates):
        replies.when(f"blocker {number}", Stream(gate=gate))
    blockers = [tab.submit_chat(f"blocker {number}", tags=["place"]) for number in range(4)]
    first, second = (tab.submit_chat(words, tags=["place"]) for words in ("one", "two"))
    tab.open(f"task/{second}")
    expect(tab.page.locator(".facts")).to_contain_text("2nd in line, any moment")
    tab.client.cancel_task(first)
    expect(tab.page.locator(".facts")).to_contain_text("next in line, any moment")
    for gate in gates:
        gate.set()
    tab.wait_for(*blockers, second)
