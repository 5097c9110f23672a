"""A redraw takes back nothing that the user did, and one that fails is not the end of the page."""

import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.fakes.behaviours import Stream
from tests.support.harness.page import BrowserTab, Replies

# After each thing that a user does, the page is drawn at once: before what browsers tell later
# (`toggle`, `close`, `hashchange`, `scroll`), and again after it. A click on a box is one task with
# its `change`, so that no redraw can come between these.
NERVOUS = """(() => {
    if (location.protocol === "about:") return;
    const usual = window.requestAnimationFrame.bind(window);
    const due = new Set();
    const run = (draw) => due.delete(draw) && draw(performance.now());
    window.requestAnimationFrame = (draw) => {
        due.add(draw);
        return usual(() => run(draw));
    };
    window.redraws = 0;
    import("/static/state/store.js").then(({ notify }) => {
        const redraw = (event) => {
            if (event.type === "click" && event.target.matches("[type=checkbox]")) return;
            window.redraws++;
            notify();
            [...due].forEach(run);
        };
        for (const type of ["click", "input", "change", "keydown", "keyup"]) {
            window.addEventListener(type, redraw);
        }
    });
})()"""


@pytest.fixture
def nervous(tab: BrowserTab) -> Iterator[Page]:
    tab.page.add_init_script(NERVOUS)
    yield tab.page
    assert tab.page.evaluate("window.redraws") > 0


def later(tab: BrowserTab, text: str, **fields: object) -> str:
    return tab.submit_chat(text, scheduled_at="2031-01-01T00:00:00Z", **fields)


@pytest.mark.parametrize("address", ("submit", "crons/new"))
def test_the_options_of_a_form_open_and_close(nervous: Page, tab: BrowserTab, address: str) -> None:
    tab.open(address)
    options = nervous.locator("details.more")
    summary = options.locator("> summary")
    summary.click()
    expect(options).to_have_attribute("open", "")
    summary.click()
    expect(options).not_to_have_attribute("open", "")
    summary.press("Enter")
    expect(options).to_have_attribute("open", "")
    tab.field("Tags").fill("kept")
    tab.field("System").press_sequentially("Be brief.")
    tab.field("Type").select_option("generate")
    tab.field("Priority").select_option("10 high")
    tab.field("Prompt").fill("go on")
    tab.field("Temperature").fill("0.5")
    expect(options).to_have_attribute("open", "")
    expect(tab.field("Tags")).to_have_value("kept")
    expect(tab.field("System")).to_have_value("Be brief.")
    expect(tab.field("Type")).to_have_value("generate")
    expect(tab.field("Priority")).to_have_value("10")
    expect(tab.field("Prompt")).to_have_value("go on")
    expect(tab.field("Temperature")).to_be_focused()


def test_what_a_model_thinks_is_folded_as_the_reader_left_it(
    nervous: Page, tab: BrowserTab, replies: Replies
) -> None:
    gate = threading.Event()
    replies.when("think hard", Stream(gate=gate))
    tab.open(f"task/{tab.submit_chat('think hard')}")
    expect(nervous.get_by_role("region", name="reply")).to_contain_text("1 token so far")
    say = """async (reply) => {
        const { state, notify } = await import("/static/state/store.js");
        Object.assign(state.task.reply, reply);
        notify();
    }"""
    nervous.evaluate(say, {"thinking": "step by step", "text": ""})
    thoughts = nervous.locator("details.thoughts")
    expect(thoughts).to_have_attribute("open", "")
    thoughts.locator("summary").click()
    expect(thoughts).not_to_have_attribute("open", "")
    thoughts.locator("summary").click()
    nervous.evaluate(say, {"thinking": "step by step", "text": "An answer"})
    expect(nervous.locator(".message.is-live")).to_contain_text("An answer")
    expect(thoughts).to_have_attribute("open", "")
    gate.set()
    expect(nervous.locator("main .status").first).to_contain_text("completed")


def test_filters_rows_and_search_keep_what_was_done(nervous: Page, tab: BrowserTab) -> None:
    ids = [later(tab, f"kept {number}", tags=["kept"]) for number in range(3)]
    tab.open("tasks?tag=kept")
    tab.page.get_by_role("button", name="Filters (1)").click()
    tab.field("Model").press_sequentially("smol")
    expect(tab.field("Model")).to_have_value("smol")
    tab.field("Model").fill("smollm2")
    tab.field("Model").press("Enter")
    tab.field("Type").select_option("chat")
    tab.field("Created since").fill("2026-01-01T10:20")
    expect(tab.field("Created since")).to_have_value("2026-01-01T10:20")
    expect(tab.field("Type")).to_have_value("chat")
    expect(tab.field("Model")).to_have_value("smollm2")
    nervous.get_by_role("searchbox").press_sequentially("kept 1")
    expect(nervous.locator("tr.task-row")).to_have_count(1)
    expect(nervous.get_by_role("searchbox")).to_have_value("kept 1")
    box = nervous.get_by_role("checkbox", name="Select kept 1")
    box.check()
    expect(box).to_be_checked()
    box.uncheck()
    expect(box).not_to_be_checked()
    nervous.get_by_label("Sort by").select_option("priority")
    expect(nervous.get_by_label("Sort by")).to_have_value("priority")
    tab.client.cancel_tasks(ids=ids)


def test_a_question_is_closed_and_asked_again(nervous: Page, tab: BrowserTab) -> None:
    tab.open()
    dialog = nervous.get_by_role("dialog")
    for _ in range(3):
        tab.button("Pause the queue").click()
        expect(dialog).to_be_visible()
        nervous.keyboard.press("Escape")
        expect(dialog).to_have_count(0)


@pytest.mark.parametrize("is_refused", (False, True))
def test_controls_show_what_they_were_set_to_until_the_answer(
    nervous: Page, tab: BrowserTab, is_refused: bool
) -> None:
    """An answer that is late does not let them jump back; one that says no does."""
    template = {"type": "generate", "model": "smollm2", "prompt": "hi"}
    cron = {"name": "slow switch", "cron_expr": "0 0 1 1 *", "task_template": template}
    cron_id = tab.client.add_cron_task(cron)
    task_id = later(tab, "slow select")
    held: list[Route] = []
    shown: dict[str, str] = {}

    def hold(route: Route) -> None:
        held.append(route)

    def answer() -> None:
        while not held:
            nervous.evaluate("0")  # lets Playwright hear of the request
        for route in held:
            if is_refused:
                error = {"code": "conflict", "message": "it may not be changed"}
                route.fulfill(status=409, json={"error": error})
            else:
                route.continue_()
        held.clear()

    nervous.route(lambda url: "/priority" in url or "/disable" in url, hold)
    tab.open(f"task/{task_id}")
    level = nervous.locator(".facts").get_by_label("Priority")
    with nervous.expect_request("**/priority"):
        level.select_option("10 high")
    nervous.evaluate("async () => (await import('/static/state/store.js')).notify()")
    nervous.evaluate("() => new Promise(requestAnimationFrame)")
    shown["level"] = level.input_value()
    answer()
    tab.expect_toast("it may not be changed" if is_refused else "Priority set to 10")
    expect(level).to_have_value("5" if is_refused else "10")

    tab.open("crons")
    switch = nervous.get_by_role("switch", name="slow switch is enabled")
    with nervous.expect_request("**/disable"):
        switch.click()
    nervous.evaluate("() => new Promise(requestAnimationFrame)")
    shown["switch"] = str(switch.is_checked())
    answer()
    tab.expect_toast("it may not be changed" if is_refused else "Disabled")
    expect(switch).to_be_checked(checked=is_refused)
    assert shown == {"level": "10", "switch": "False"}
    tab.client.remove_cron_task(cron_id)
    tab.client.cancel_task(task_id)


# What each view cannot draw.
POISONS = {
    "overview": "state.history = [null]",
    "tasks": "state.list.rows.unshift('nobody')",
    "crons": "state.crons.items = [null]",
    "batches": "state.batches.items = [null]",
    "history": "state.report.periods = [null]",
    "submit": "state.submit.messages = null",
    "task": "state.task.data = {}",
}


@pytest.mark.parametrize("view", POISONS)
def test_a_view_that_cannot_be_drawn_says_so_and_the_page_goes_on(
    tab: BrowserTab, view: str
) -> None:
    task_id = later(tab, "poisoned")
    page = tab.open(f"task/{task_id}" if view == "task" else view)
    expect(page.locator("main :is(h1, h2)").first).to_be_attached()
    expect(page.locator("main")).not_to_contain_text("Loading")
    # At each frame, since an answer that was on its way puts things right again.
    poison = f"""async () => {{
        const {{ state, notify }} = await import("/static/state/store.js");
        {POISONS[view]};
        notify();
        const trouble = document.querySelector("main [role=alert]");
        return trouble?.textContent.includes("This could not be shown");
    }}"""
    page.wait_for_function(poison)
    trouble = page.locator("main").get_by_role("alert")
    other = "Submit" if view == "batches" else "Batches"
    page.get_by_role("navigation").get_by_role("link", name=other).click()
    expect(page.get_by_role("heading", name=other, level=1)).to_be_visible()
    expect(trouble).to_have_count(0)
    page.go_back()
    tab.client.cancel_task(task_id)
    tab.ignore_errors("null")
    tab.ignore_errors("undefined")


def test_what_is_around_the_views_may_fail_too(tab: BrowserTab) -> None:
    page = tab.open("crons")
    poison = """async () => (await import("/static/state/store.js")).update({ toasts: null })"""
    page.evaluate(poison)
    trouble = page.get_by_role("alert")
    expect(trouble).to_contain_text("This could not be shown")
    tab.button("Reload the page", trouble).click()
    expect(page.get_by_role("heading", name="Crons", level=1)).to_be_visible()
    expect(page.locator(".connection.live")).to_be_visible()
    tab.ignore_errors("null")
