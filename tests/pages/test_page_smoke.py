"""The page does what it is for, on any screen; and it comes back by itself."""

from playwright.sync_api import Route

from ollama_queue import chat_task, generate_task
from tests.behaviours import Hang, Stream
from tests.pages.browser import Desk, expect

MARKUP = "<img src=x onerror=\"document.title='owned'\"><b>bold</b>"


def test_the_overview_tells_how_things_stand(desk: Desk) -> None:
    desk.fake.script(Stream(words=("one ", "two"), then="hang"))
    desk.client.submit_task(generate_task("qwen3", "a long story"))
    page = desk.open("overview")

    running = page.get_by_role("region", name="Running now")
    expect(running).to_contain_text("a long story")
    expect(running).to_contain_text("one two")
    expect(running).to_contain_text("2 tok")
    servers = page.get_by_role("region", name="Model servers")
    expect(servers).to_contain_text("healthy")
    expect(servers).to_contain_text("1 of 2 slots busy")
    expect(servers).to_contain_text("qwen3 · in memory")


def test_the_queue_is_paused_and_a_server_drained(desk: Desk) -> None:
    page = desk.open("overview")

    page.get_by_role("button", name="Pause the queue").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.get_by_text("The queue is paused")).to_be_visible()
    page.get_by_role("button", name="Resume", exact=True).click()
    expect(page.get_by_text("The queue is paused")).to_be_hidden()

    page.get_by_role("button", name="Drain ollama").click()
    page.get_by_role("dialog").get_by_role("button", name="Drain").click()
    expect(page.get_by_text("drained", exact=True)).to_be_visible()
    page.get_by_role("button", name="Resume ollama").click()
    expect(page.get_by_text("healthy", exact=True)).to_be_visible()


def test_a_text_is_never_markup(desk: Desk) -> None:
    desk.fake.script(Stream(words=(MARKUP,)))
    task_id = desk.client.submit_task(
        chat_task("qwen3", [{"role": "user", "content": MARKUP}], tags=[MARKUP])
    )
    desk.client.wait(task_id)
    page = desk.open("tasks")
    desk.row(MARKUP).click()
    panel = page.get_by_role("complementary", name="The task")

    expect(panel.get_by_label("assistant")).to_contain_text(MARKUP)
    expect(panel.get_by_label("user")).to_contain_text(MARKUP)
    assert page.locator("b").count() == 0
    assert page.locator("main img").count() == 0
    assert page.title() == "Tasks · Ollama Queue"


def test_it_comes_back_after_the_server_did(desk: Desk) -> None:
    page = desk.open("tasks")
    desk.server.stop()
    expect(page.get_by_text("The connection is lost")).to_be_visible()

    desk.server.start()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    desk.client.submit_task(generate_task("qwen3", "after the restart"))
    expect(desk.row("after the restart")).to_contain_text("completed")
    desk.complaints.clear()  # the browser logs each connection that failed


def test_two_tabs_agree(desk: Desk) -> None:
    desk.fake.script(Hang())
    desk.client.submit_task(generate_task("qwen3", "seen twice"))
    one, two = desk.open("tasks"), desk.open("tasks", desk.tab())
    desk.row("seen twice", one).click()
    one.get_by_role("complementary").get_by_role("button", name="Cancel").click()

    expect(desk.row("seen twice", two)).to_contain_text("cancelled")


def test_a_key_is_asked_for_and_kept_for_the_tab(desk: Desk) -> None:
    page = desk.page

    def guard(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer s3cret":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": {"code": "unauthorized", "message": "no"}})

    page.route("**/api/**", guard)
    page.goto(f"{desk.server.base_url}/#/tasks")
    page.get_by_label("API key", exact=True).fill("s3cret")
    page.get_by_role("button", name="Use it").click()

    expect(page.get_by_text("There are no tasks yet")).to_be_visible()
    assert "s3cret" in page.evaluate("JSON.stringify(sessionStorage)")
    assert "s3cret" not in page.evaluate("JSON.stringify(localStorage)")
    desk.complaints.clear()  # the browser logs each 401


def test_the_keyboard_is_enough(desk: Desk) -> None:
    for n in (1, 2):
        desk.client.wait(desk.client.submit_task(generate_task("qwen3", f"task {n}")))
    page = desk.open("overview")

    page.keyboard.press("g")
    page.keyboard.press("t")
    expect(desk.row("task 1")).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    expect(desk.row("task 1")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary").get_by_role("heading", level=1)).to_have_text("task 1")
    page.keyboard.press("Escape")
    page.keyboard.press("x")
    expect(page.get_by_role("toolbar")).to_contain_text("1 chosen")


def test_it_fits_a_phone(desk: Desk) -> None:
    desk.client.wait(desk.client.submit_task(generate_task("qwen3", "a small screen " * 8)))
    page = desk.tab(viewport={"width": 360, "height": 640}, color_scheme="dark")
    for view in ("overview", "tasks", "submit", "crons", "batches"):
        desk.open(view, page)
        expect(page.locator("main")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, view
