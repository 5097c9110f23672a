"""The list of tasks and one task beside it, live."""

import threading

from ollama_queue import chat_task, embed_task, generate_task
from tests.behaviours import Answer, Stream
from tests.pages.browser import Desk, expect

TO_THE_END = """async (box, last) => {
  while (!box.textContent.includes(last)) {
    box.scrollTop = box.scrollHeight;
    await new Promise(requestAnimationFrame);
  }
}"""


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
