"""The page does what it is for: see, find, submit, follow, steer; and it comes back by itself."""

import json
import threading
from pathlib import Path

from playwright.sync_api import Route

from ollama_queue import chat_task, embed_task, generate_task
from tests.behaviours import Answer, Hang, Stream
from tests.pages.browser import Desk, expect

TO_THE_END = """async (box, last) => {
  while (!box.textContent.includes(last)) {
    box.scrollTop = box.scrollHeight;
    await new Promise(requestAnimationFrame);
  }
}"""
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


def test_the_list_lives(desk: Desk) -> None:
    page = desk.open("tasks")
    expect(page.get_by_text("There are no tasks yet")).to_be_visible()

    gate = threading.Event()
    desk.fake.script(Stream(gate=gate))
    task_id = desk.client.submit_task(generate_task("qwen3", "first of all"))
    expect(desk.row("first of all")).to_contain_text("running")
    gate.set()
    expect(desk.row("first of all")).to_contain_text("completed")
    desk.client.delete_task(task_id)
    expect(page.get_by_text("There are no tasks yet")).to_be_visible()


def test_the_address_holds_what_is_looked_for(desk: Desk) -> None:
    desk.fake.script(Answer(400, {"error": "no such model"}))
    failed = desk.client.submit_task(generate_task("qwen3", "will fail"))
    desk.client.wait(failed)
    desk.client.wait(desk.client.submit_task(generate_task("smollm2", "goes well", tags=["night"])))
    page = desk.open("tasks")

    page.get_by_role("button", name="failed").click()
    expect(desk.row("goes well")).to_have_count(0)
    expect(desk.row("will fail")).to_contain_text("no such model")
    desk.address(r"status=failed")
    page.go_back()
    expect(desk.row("goes well")).to_be_visible()

    page.keyboard.press("/")
    page.keyboard.type("NIGHT")
    expect(desk.row("will fail")).to_have_count(0)
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("NIGHT")
    expect(desk.row("goes well")).to_be_visible()


def test_one_task_beside_the_list(desk: Desk) -> None:
    first = Stream(words=("The answer", " is **42**"), then="hang")
    desk.fake.script(first, Stream(words=("It was", " 42")))
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is it?"},
    ]
    desk.client.submit_task(chat_task("qwen3", messages, options={"seed": 7}))
    page = desk.open("tasks")

    desk.row("What is it?").click()
    panel = page.get_by_role("complementary", name="The task")
    expect(panel.get_by_label("system")).to_contain_text("Be brief.")
    expect(panel.get_by_label("reply")).to_contain_text("The answer is 42")
    panel.get_by_role("button", name="Cancel").click()
    expect(panel.locator(".status").first).to_contain_text("cancelled")
    panel.get_by_role("button", name="Retry", exact=True).click()
    expect(panel.get_by_label("assistant")).to_contain_text("It was 42")

    panel.get_by_role("tab", name="Timeline").click()
    expect(panel.get_by_role("list")).to_contain_text("on ollama")
    panel.get_by_role("tab", name="Payload").click()
    expect(panel).to_contain_text('"seed": 7')
    panel.get_by_role("tab", name="Raw JSON").click()
    expect(panel).to_contain_text('"status": "completed"')
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()


def test_embeddings_are_summed_up(desk: Desk) -> None:
    task_id = desk.client.submit_task(embed_task("nomic-embed-text", ["a", "bcd"]))
    desk.client.wait(task_id)
    page = desk.open(f"task/{task_id}")

    expect(page.get_by_role("region", name="embeddings")).to_contain_text(
        "2 embeddings of 2 numbers"
    )


def test_many_at_once(desk: Desk) -> None:
    desk.client.pause()
    desk.client.submit_batch([generate_task("qwen3", f"number {n}") for n in range(260)])
    page = desk.open("tasks?status=pending")
    expect(desk.row("number 259")).to_be_visible()

    desk.row("number 259").get_by_role("checkbox").check()
    desk.row("number 258").get_by_role("checkbox").check()
    page.get_by_label("Set the priority of the tasks chosen").select_option("15")
    expect(desk.row("number 258")).to_contain_text("15 critical")

    desk.row("number 257").get_by_role("button", name="change the priority").click()
    page.get_by_label("Priority", exact=True).select_option("1")
    expect(desk.row("number 257")).to_contain_text("1 low")

    page.get_by_label("Choose all that are loaded").check()
    page.get_by_role("button", name="Choose all 260 that match").click()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel them all").click()
    expect(page.get_by_text("No task matches")).to_be_visible()
    assert desk.client.get_queue_stats().cancelled_tasks == 260


def test_submit_a_chat(desk: Desk) -> None:
    page = desk.open("submit")

    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.get_by_text("Write at least one message")).to_be_visible()
    expect(page.get_by_label("Message 1", exact=True)).to_be_focused()
    page.get_by_label("Message 1", exact=True).fill("Hello?")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.get_by_label("Model", exact=True)).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Model", exact=True).fill("qwen3")
    page.get_by_role("button", name="Add a message").click()
    page.get_by_label("Message 2", exact=True).fill("Yes.")
    page.get_by_label("Priority").select_option("10")
    page.get_by_text("Options", exact=True).click()
    page.get_by_label("Retries").fill("101")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.get_by_text("max_retries must be a whole number from 0 to 100")).to_be_visible()
    desk.complaints.clear()  # the browser logs each answer that is an error
    page.get_by_label("Retries").fill("1")
    page.get_by_label("Reply").select_option("json")
    page.keyboard.press("Control+Enter")

    desk.address(r"#/task/")
    expect(page.get_by_label("assistant").last).to_contain_text("Hello from here")
    [call] = desk.fake.wait_for_calls(1)
    assert [m["content"] for m in call.body["messages"]] == ["Hello?", "Yes."]
    assert call.body["format"] == "json"


def test_again_with_edits(desk: Desk) -> None:
    task_id = desk.client.submit_task(
        generate_task("qwen3", "old words", system="short", keep_alive="5m", options={"seed": 3})
    )
    desk.client.wait(task_id)
    page = desk.open(f"task/{task_id}")

    page.get_by_role("button", name="Retry as new").click()
    expect(page.get_by_label("Prompt")).to_have_value("old words")
    page.get_by_label("Prompt").fill("new words")
    page.get_by_role("button", name="Submit", exact=True).click()
    second = desk.fake.wait_for_calls(2)[1].body
    assert (second["prompt"], second["system"], second["keep_alive"]) == (
        "new words",
        "short",
        "5m",
    )
    assert second["options"]["seed"] == 3


def test_a_file_of_tasks(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    good = {"type": "generate", "model": "qwen3", "prompt": "from a file"}
    file.write_text(f"{json.dumps(good)}\n{{nonsense\n")
    page = desk.open("submit")
    page.get_by_role("button", name="A file of tasks").click()

    page.get_by_label("Choose a file").set_input_files(file)
    expect(page.get_by_text("line 2")).to_be_visible()
    expect(page.get_by_role("button", name="Submit 1 task")).to_be_disabled()

    file.write_text(f"{json.dumps(good)}\n" * 3)
    page.get_by_label("Choose a file").set_input_files(file)
    page.get_by_role("button", name="Submit 3 tasks").click()
    page.get_by_role("link", name="See them").click()
    expect(desk.row("from a file")).to_have_count(3)


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


def test_the_list_stays_where_it_is(desk: Desk) -> None:
    """Whoever looks at a task is not pushed away from it by what comes in."""
    desk.client.wait(desk.client.submit_task(generate_task("qwen3", "the one I read")))
    page = desk.open("tasks")
    desk.row("the one I read").click()
    expect(page.get_by_role("complementary")).to_be_visible()
    before = desk.row("the one I read").bounding_box()

    desk.client.wait(desk.client.submit_task(generate_task("qwen3", "a newer one")))
    news = page.get_by_role("button", name="Show 1 new")
    expect(news).to_be_visible()
    assert desk.row("the one I read").bounding_box() == before
    expect(desk.row("a newer one")).to_have_count(0)
    news.click()
    expect(desk.row("a newer one")).to_contain_text("completed")


def test_ten_thousand_tasks(desk: Desk) -> None:
    desk.client.pause()
    for first in range(0, 10_000, 1000):
        desk.client.submit_batch(
            [generate_task("qwen3", f"number {n}", priority=1) for n in range(first, first + 1000)]
        )
    page = desk.open("tasks?sort=priority")
    expect(page.get_by_text("10,000 tasks")).to_be_visible()
    page.get_by_role("button", name="Created").click()
    expect(desk.row("number 9999")).to_be_visible()

    page.locator(".rows").evaluate(TO_THE_END, "number 0")
    expect(desk.row("number 0")).to_be_visible()
    assert page.locator(".task-row").count() < 100
    page.get_by_role("searchbox").fill("number 4321")
    expect(page.get_by_role("row").filter(has_text="number 4321")).to_have_count(1)
    desk.client.submit_task(generate_task("qwen3", "number 4321 again", priority=15))
    expect(desk.row("number 4321 again")).to_be_visible()
