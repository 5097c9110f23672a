"""The list of tasks is right in any weather: filters change, events come, answers fail."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from ollama_queue import generate_task
from tests.support.harness.page import BrowserTab
from tests.support.servers.queue_server import QueueServer

ADDRESSES = ("&status=pending", "", "&status=cancelled", "&sort=priority", "&q=storm")
LATER = "2031-01-01T00:00:00Z"
TASK_LISTS = re.compile(r"/api/tasks\?")
MISSED = """async () =>
    (await import("/static/state/store.js")).state.list.buffered.length > 0"""

# Answers to requests for lists are late or fail, by a seed, until `weather.isCalm`.
WEATHER = """(() => {
    const usual = window.fetch;
    let seed = 7;
    const next = () => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648;
    window.weather = { isCalm: false, asked: 0 };
    window.fetch = async (url, more) => {
        if (weather.isCalm || !String(url).includes("api/tasks?")) return usual(url, more);
        weather.asked++;
        const [late, fate] = [next() * 60, next()];
        const answer = fate < 0.3 ? null : await usual(url, more);
        await new Promise((wake) => setTimeout(wake, late));
        if (!answer) throw new TypeError("a storm");
        return answer;
    };
})()"""


@pytest.fixture
def held(tab: BrowserTab) -> Iterator[list[Route]]:
    """The requests for lists, which wait to be answered."""
    routes: list[Route] = []
    yield routes
    tab.page.unroute_all(behavior="ignoreErrors")


def rows(tab: BrowserTab) -> Locator:
    return tab.page.locator("tr.task-row")


def turn(page: Page, address: str) -> None:
    page.evaluate("(hash) => { location.hash = hash; }", f"#/{address}")


def later(tab: BrowserTab, text: str, tag: str) -> str:
    return tab.submit_chat(text, tags=[tag], scheduled_at=LATER)


def test_events_before_the_first_page_wait_for_it(tab: BrowserTab, held: list[Route]) -> None:
    page = tab.open("tasks?tag=early-none")
    expect(page.locator("main")).to_contain_text("No matching tasks")
    page.route(TASK_LISTS, lambda route: held.append(route))
    turn(page, "tasks?tag=early")
    ids = [later(tab, f"early {number}", "early") for number in range(2)]
    page.wait_for_function(MISSED)
    turn(page, "tasks?tag=early&status=pending")
    expect(rows(tab)).to_have_count(0)
    ids.append(later(tab, "early 2", "early"))
    page.wait_for_function(MISSED)
    for route in held:
        route.continue_()
    page.unroute(TASK_LISTS)
    expect(rows(tab)).to_have_count(3)
    turn(page, "tasks?tag=early-none")
    expect(page.locator("main")).to_contain_text("No matching tasks")
    tab.client.cancel_tasks(ids=ids)


def test_a_list_that_cannot_be_read_says_so_and_is_asked_for_again(tab: BrowserTab) -> None:
    ids = [later(tab, "fails 1", "fails")]
    page = tab.open("tasks?tag=fails")
    expect(rows(tab)).to_have_count(1)

    def fail(route: Route) -> None:
        error = {"code": "unavailable", "message": "the disk is being looked at"}
        route.fulfill(status=503, json={"error": error})

    page.route(TASK_LISTS, fail)
    turn(page, "tasks?tag=fails&status=pending")
    trouble = page.locator("main").get_by_role("alert")
    expect(trouble).to_contain_text("the disk is being looked at")
    expect(rows(tab)).to_have_count(0)
    ids.append(later(tab, "fails 2", "fails"))
    page.unroute(TASK_LISTS)
    tab.button("Try again", trouble).click()
    expect(rows(tab)).to_have_count(2)

    page.route(TASK_LISTS, fail)
    page.evaluate("async () => (await import('/static/state/task_list.js')).refreshTaskList()")
    expect(trouble).to_contain_text("This may be out of date: the disk is being looked at")
    expect(rows(tab)).to_have_count(2)
    page.unroute(TASK_LISTS)
    tab.button("Try again", trouble).click()
    expect(trouble).to_have_count(0)
    expect(rows(tab)).to_have_count(2)
    tab.client.cancel_tasks(ids=ids)
    tab.ignore_errors("503 (Service Unavailable)")


def test_filters_changed_fast_in_a_storm_end_in_the_right_list(tab: BrowserTab) -> None:
    page = tab.page
    page.add_init_script(WEATHER)
    tab.open("tasks?tag=storm")
    ids = []
    for number in range(24):
        ids.append(later(tab, f"storm {number}", "storm"))
        if number % 3 == 0:
            tab.client.cancel_task(ids[number])
        turn(page, f"tasks?tag=storm{ADDRESSES[number % len(ADDRESSES)]}")
    assert page.evaluate("weather.asked") >= 24
    page.evaluate("() => { weather.isCalm = true; }")
    turn(page, "tasks?tag=storm&status=pending&q=storm")
    expect(rows(tab)).to_have_count(16)
    turn(page, "tasks?tag=storm")
    expect(rows(tab)).to_have_count(24)
    listed = rows(tab).locator(".c-title a").all_inner_texts()
    assert listed == [f"storm {number}" for number in reversed(range(24))]
    tab.client.cancel_tasks(filter={"tag": "storm"})


def test_two_filters_in_one_frame_both_count(tab: BrowserTab) -> None:
    page = tab.open("tasks?tag=frame")
    press = """() => [...document.querySelectorAll(".toggle.status")].slice(0, 2).forEach(
        (button) => button.click())"""
    page.evaluate(press)
    expect(page).to_have_url(re.compile("status=pending&status=running"))
    expect(page.locator(".toggle.status[aria-pressed=true]")).to_have_count(2)


def test_what_is_typed_and_pressed_in_one_frame_is_kept(tab: BrowserTab) -> None:
    page = tab.open("submit")
    act = """() => {
        const type = (field, text) => {
            field.value = text;
            field.dispatchEvent(new Event("input", { bubbles: true }));
        };
        type(document.querySelector("[aria-label='Message 1']"), "typed last");
        const add = [...document.querySelectorAll("button")].find(
            (button) => button.textContent === "Add a message");
        add.click();
        add.click();
    }"""
    page.evaluate(act)
    expect(tab.field("Message 3")).to_be_visible()
    expect(tab.field("Message 1")).to_have_value("typed last")


def test_the_list_stays_where_it_was_scrolled_to_just_now(tab: BrowserTab) -> None:
    """Also by less than what is worth drawing anew, and before the browser tells of it."""
    tasks = [later(tab, f"scrolled {number}", "scrolled") for number in range(40)]
    page = tab.open("tasks?tag=scrolled")
    expect(rows(tab).first).to_be_visible()
    task = tab.client.get_task(later(tab, "scrolled", "elsewhere"))
    event = {"type": "event", "event": "task_submitted", "seq": 1 << 52}
    new = {"id": "ffffffff", "status": "pending", "model": "m", "type": "chat", "priority": 5}
    new |= {"tags": ["scrolled"], "title": "new", "attempts": [], "attempt": 0, "seq": 1 << 52}
    new |= {"created_at": "2026-01-01T00:00:00Z", "queued_at": "2026-01-01T00:00:00Z"}
    apply = """async (message) => {
        const { applyFeedToTaskList } = await import("/static/state/task_list.js");
        document.querySelector(".rows").scrollTop = 72;
        applyFeedToTaskList(message);
    }"""
    page.evaluate(apply, event | {"task": new})
    expect(tab.button("Show 1 new")).to_be_visible()
    tab.client.cancel_tasks(ids=[*tasks, task.id])


@pytest.fixture(scope="module")
def deep(server: QueueServer) -> Iterator[int]:
    """How many tasks have the tag `deep`: more than one reading brings, for a model nobody has."""
    count = 450
    tasks = [
        generate_task("nobodys", f"deep {number:03}", tags=["deep"], scheduled_at=LATER)
        for number in range(count)
    ]
    with server.client() as client:
        client.submit_batch(tasks)
        yield count
        client.cancel_tasks(filter={"tag": "deep"})


def test_a_scroll_while_the_list_is_read_anew_is_not_lost(tab: BrowserTab, deep: int) -> None:
    """Nothing moves any more when the answer comes: the page sees that its end is in view."""
    page = tab.open("tasks?tag=deep")
    expect(rows(tab).first).to_contain_text(f"deep {deep - 1}")
    scroll = """async () => {
        const { refreshTaskList } = await import("/static/state/task_list.js");
        const usual = window.fetch;
        let release;
        const released = new Promise((resolve) => { release = resolve; });
        window.fetch = (...request) => released.then(() => usual(...request));
        refreshTaskList();
        const box = document.querySelector(".rows");
        const scrolled = new Promise((resolve) => box.addEventListener("scroll", resolve));
        box.scrollTop = box.scrollHeight;
        await scrolled;
        window.fetch = usual;
        release();
    }"""
    page.evaluate(scroll)
    expect(page.locator("tr.task-row", has_text=f"deep {deep - 201}")).to_be_attached()


def test_a_tall_window_is_filled(tab: BrowserTab, deep: int) -> None:
    """No scroll brings the next page where the first one leaves nothing to scroll."""
    tab.page.set_viewport_size({"width": 1280, "height": 9000})
    tab.open("tasks?tag=deep")
    expect(tab.page.locator("tr.task-row", has_text="deep 240")).to_be_visible()
