"""The Tasks view: finding tasks, and doing something to many."""

import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Locator, expect

from ollama_queue import generate_task
from tests.support.fakes.behaviours import Answer, Stream
from tests.support.harness.page import Replies, Visit


def rows(visit: Visit) -> Locator:
    return visit.page.locator("tr.task-row")


def later(visit: Visit, text: str, **fields: object) -> str:
    """A task that stays pending."""
    return visit.chat(text, scheduled_at="2031-01-01T00:00:00Z", **fields)


def test_tasks_come_and_change_as_they_do(visit: Visit, replies: Replies) -> None:
    gate = threading.Event()
    replies.when("gated", Stream(gate=gate))
    visit.open("tasks?tag=live")
    expect(visit.page.locator("main")).to_contain_text("No matching tasks")
    visit.chat("gated reply", tags=["live"])
    expect(rows(visit)).to_have_count(1)
    expect(rows(visit)).to_contain_text("running")
    gate.set()
    expect(rows(visit)).to_contain_text("completed")


def test_filters_narrow_the_list_and_are_in_the_address(visit: Visit, replies: Replies) -> None:
    replies.when("unlucky", Answer(400, {"error": "no luck"}))
    tag = ["filters"]
    good = visit.chat("good one", tags=tag)
    bad = visit.chat("unlucky one", tags=tag, model="qwen3")
    high = later(visit, "high one", tags=tag, priority=10)
    visit.ended(good, bad)
    visit.open("tasks?tag=filters")
    expect(rows(visit)).to_have_count(3)
    toggles = visit.page.get_by_role("group", name="Status")
    visit.button("failed", toggles).click()
    expect(rows(visit)).to_have_count(1)
    expect(rows(visit)).to_contain_text("no luck")
    visit.button("completed", toggles).click()
    expect(rows(visit)).to_have_count(2)
    expect(visit.page).to_have_url(re.compile("status=failed&status=completed"))
    visit.page.go_back()
    expect(rows(visit)).to_have_count(1)
    visit.page.reload()
    expect(rows(visit)).to_have_count(1)
    visit.open("tasks?tag=filters")
    visit.page.get_by_role("button", name=re.compile("^Filters")).click()
    visit.field("Priority").first.select_option("10 high")
    expect(rows(visit)).to_have_count(1)
    expect(rows(visit)).to_contain_text("high one")
    visit.field("Priority").first.select_option("any")
    visit.field("Model").fill("qwen3")
    visit.field("Model").press("Enter")
    expect(rows(visit)).to_have_count(1)
    expect(rows(visit)).to_contain_text("unlucky one")
    visit.client.cancel_task(high)


def test_a_filter_that_is_being_typed_is_left_alone(visit: Visit) -> None:
    """What happens meanwhile draws the page anew."""
    visit.open("tasks?tag=typing")
    visit.page.get_by_role("button", name=re.compile("^Filters")).click()
    visit.field("Model").fill("qwe")
    task_id = later(visit, "comes meanwhile", tags=["typing"], model="qwen3")
    expect(rows(visit)).to_have_count(1)
    expect(visit.field("Model")).to_have_value("qwe")
    visit.field("Model").press_sequentially("n3")
    visit.field("Model").press("Enter")
    expect(visit.page).to_have_url(re.compile("model=qwen3"))
    expect(rows(visit)).to_contain_text("comes meanwhile")
    visit.client.cancel_task(task_id)


def test_filters_by_type_and_time(visit: Visit) -> None:
    visit.ended(visit.chat("by time", tags=["timed"]))
    visit.open("tasks?tag=timed&type=embed")
    expect(visit.page.locator("main")).to_contain_text("No matching tasks")
    visit.open("tasks?tag=timed&type=chat")
    expect(rows(visit)).to_have_count(1)
    visit.open("tasks?tag=timed&until=2020-01-01T00:00:00Z")
    expect(visit.page.locator("main")).to_contain_text("No matching tasks")
    visit.page.get_by_role("link", name="Clear all filters").click()
    expect(rows(visit).first).to_be_visible()


def test_search_finds_text_as_it_is_typed(visit: Visit) -> None:
    visit.ended(visit.chat("a needle in the hay"), visit.chat("only hay"))
    visit.open("tasks")
    visit.page.keyboard.press("/")
    search = visit.page.get_by_role("searchbox")
    expect(search).to_be_focused()
    search.press_sequentially("needle in")
    expect(rows(visit)).to_have_count(1)
    expect(visit.page).to_have_url(re.compile(r"q=needle\+in"))


def test_the_list_is_sorted(visit: Visit) -> None:
    ids = [later(visit, f"sorted {level}", tags=["sorted"], priority=level) for level in (5, 15, 1)]
    visit.open("tasks?tag=sorted")
    expect(rows(visit).locator(".c-title a")).to_have_text(["sorted 1", "sorted 15", "sorted 5"])
    visit.page.get_by_label("Sort by").select_option("priority")
    expect(rows(visit).locator(".c-title a")).to_have_text(["sorted 15", "sorted 5", "sorted 1"])
    expect(visit.page).to_have_url(re.compile("sort=priority"))
    visit.client.cancel_tasks(ids=ids)


def test_a_priority_is_changed_in_place(visit: Visit) -> None:
    task_id = later(visit, "to raise", tags=["raise"])
    visit.open("tasks?tag=raise")
    rows(visit).get_by_role("button", name="change the priority").click()
    rows(visit).get_by_role("combobox", name="Priority").select_option("15 critical")
    visit.said("Priority set to 15")
    expect(rows(visit)).to_contain_text("15 critical")
    assert visit.client.get_task(task_id).priority == 15
    visit.client.cancel_task(task_id)


@pytest.mark.parametrize(("count", "tag"), [(3, "chosen"), (320, "matching")])
def test_many_are_cancelled_retried_and_deleted(visit: Visit, count: int, tag: str) -> None:
    """Those chosen, and all that match where there are more than one has scrolled to."""
    for number in range(count):
        later(visit, f"{tag} {number}", tags=[tag])
    visit.open(f"tasks?tag={tag}")
    expect(rows(visit).first).to_be_visible()

    def choose_all() -> None:
        visit.page.get_by_role("checkbox", name=re.compile("^Select all", re.I)).click()
        if count > 200:
            visit.page.get_by_role("button", name="Select all that match").click()
            expect(visit.page.get_by_role("toolbar")).to_contain_text("All that match selected")
            expect(visit.page.get_by_role("button", name=re.compile(" match$"))).to_have_count(0)

    def act(word: str) -> None:
        bar = visit.page.get_by_role("toolbar")
        bar.get_by_role("button", name=re.compile(f"^{word}")).click()
        question = visit.page.get_by_role("dialog").get_by_role("heading")
        expect(question).to_have_text(f"{word} {count} tasks?")
        visit.confirm(word)

    choose_all()
    bar = visit.page.get_by_role("toolbar")
    bar.get_by_label("Priority of selected tasks").select_option("10 high")
    if count > 200:
        visit.confirm(f"Change {count}")
    visit.said(f"{count} tasks changed")
    assert {task.priority for task in visit.client.list_tasks({"tag": tag, "limit": 1000})} == {10}
    choose_all()
    act("Cancel")
    visit.said(f"{count} tasks cancelled")
    expect(rows(visit).first).to_contain_text("cancelled")
    choose_all()
    act("Retry")
    visit.said(f"{count} tasks queued again")
    choose_all()
    act("Cancel")
    visit.said(f"{count} tasks cancelled")
    expect(rows(visit).first).to_contain_text("cancelled")
    choose_all()
    act("Delete")
    visit.said(f"{count} tasks deleted")
    expect(visit.page.locator("main")).to_contain_text("No matching tasks")
    assert visit.client.list_tasks({"tag": tag}) == []


def test_the_keyboard_finds_opens_and_chooses(visit: Visit) -> None:
    ids = [later(visit, f"by key {number}", tags=["keys"]) for number in range(3)]
    visit.open("overview")
    visit.page.keyboard.press("g")
    visit.page.keyboard.press("t")
    expect(visit.page).to_have_url(re.compile("#/tasks"))
    visit.open("tasks?tag=keys")
    expect(rows(visit)).to_have_count(3)
    visit.page.keyboard.press("j")
    expect(rows(visit).nth(0)).to_be_focused()
    visit.page.keyboard.press("j")
    expect(rows(visit).nth(1)).to_be_focused()
    visit.page.keyboard.press("Enter")
    expect(visit.panel().get_by_role("heading", name="by key 1")).to_be_visible()
    visit.page.keyboard.press("j")
    expect(visit.panel().get_by_role("heading", name="by key 0")).to_be_visible()
    visit.page.keyboard.press("Escape")
    expect(visit.panel()).to_have_count(0)
    visit.page.keyboard.press("x")
    expect(visit.page.get_by_role("toolbar")).to_contain_text("1 selected")
    visit.client.cancel_tasks(ids=ids)


def test_the_list_does_not_move_while_a_task_is_open(visit: Visit) -> None:
    visit.ended(*(visit.chat(f"still {number}", tags=["still"]) for number in range(3)))
    visit.open("tasks?tag=still")
    rows(visit).nth(1).locator(".c-title a").click()
    expect(visit.panel()).to_be_visible()
    visit.ended(visit.chat("still new", tags=["still"]))
    show = visit.button("Show 1 new")
    expect(show).to_be_visible()
    expect(rows(visit)).to_have_count(3)
    show.click()
    expect(rows(visit)).to_have_count(4)


def test_what_happened_while_another_view_was_shown_is_in_the_list(visit: Visit) -> None:
    page = visit.open("tasks?tag=meanwhile")
    expect(page.locator("main")).to_contain_text("No matching tasks")
    for count in (1, 2):
        page.get_by_role("link", name="Overview").click()
        expect(page.get_by_role("heading", name="Overview")).to_be_attached()
        visit.ended(visit.chat("done meanwhile", tags=["meanwhile"]))
        page.go_back()
        expect(rows(visit)).to_have_count(count)
        expect(rows(visit).first).to_contain_text("completed")


def test_the_list_is_where_it_was_after_another_view(visit: Visit) -> None:
    tasks = [generate_task("nobodys", f"row {n:02}", tags=["rows"]) for n in range(60)]
    visit.client.submit_batch(tasks)
    page = visit.open("tasks?tag=rows")
    row = page.locator("tr.task-row", has_text="row 05")
    page.locator(".rows").evaluate("box => { box.scrollTop = box.scrollHeight; }")
    expect(row).to_be_in_viewport()
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_attached()
    page.go_back()
    expect(row).to_be_in_viewport()
    visit.client.cancel_tasks(filter={"tag": ["rows"]})


def test_a_task_that_waits_says_when_it_may_start(visit: Visit) -> None:
    due = datetime.now(UTC) + timedelta(hours=2)
    scheduled = visit.chat("in two hours", scheduled_at=due, tags=["waits"])
    visit.chat("never", model="unheard-of", tags=["waits"])
    task_id = visit.chat("neither", model="unheard-of", tags=["waits"])
    visit.open("tasks?tag=waits")
    expect(rows(visit).filter(has_text="in two hours")).to_contain_text("about 2 h")
    expect(rows(visit).filter(has_text="never")).to_contain_text("next in line")
    expect(rows(visit).filter(has_text="neither")).to_contain_text("2nd in line")
    visit.open(f"task/{task_id}")
    facts = visit.page.locator(".facts")
    expect(facts).to_contain_text(re.compile("a model server: .*, 2nd in line"))
    visit.open(f"task/{scheduled}")
    expect(facts).to_contain_text(re.compile("its scheduled time, .*, about 2 h"))
    visit.client.cancel_tasks(filter={"tag": ["waits"]})


def test_the_estimate_of_a_task_is_of_this_moment(visit: Visit, replies: Replies) -> None:
    """Others end before it: its place is asked for anew, and its words follow."""
    visit.ended(visit.chat("how long does it take"))
    gates = [threading.Event() for _ in range(4)]
    for number, gate in enumerate(gates):
        replies.when(f"blocker {number}", Stream(gate=gate))
    blockers = [visit.chat(f"blocker {number}", tags=["place"]) for number in range(4)]
    first, second = (visit.chat(words, tags=["place"]) for words in ("one", "two"))
    visit.open(f"task/{second}")
    expect(visit.page.locator(".facts")).to_contain_text("2nd in line, any moment")
    visit.client.cancel_task(first)
    expect(visit.page.locator(".facts")).to_contain_text("next in line, any moment")
    for gate in gates:
        gate.set()
    visit.ended(*blockers, second)
