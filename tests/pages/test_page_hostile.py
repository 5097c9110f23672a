"""Whatever users and model servers write is shown as the text it is: nothing of it is markup."""

import re

import pytest
from playwright.sync_api import Page, expect

from ollama_queue import generate_task
from tests.support.fakes.behaviours import Answer, Stream
from tests.support.harness.page import BrowserTab, Replies

IMAGE = '<img src="x" onerror="window.hacked=1">'
SCRIPT = "<script>window.hacked=1</script>"
BREAKOUT = '"><svg onload="window.hacked=1">'
LINK = "[click](javascript:window.hacked=1) **bold** `</code><b onclick=window.hacked=1>`"
PAYLOADS = (IMAGE, SCRIPT, BREAKOUT, LINK)


def unharmed(page: Page) -> None:
    """That nothing ran, and nothing could: no element came of a text."""
    assert page.evaluate("window.hacked") is None
    assert page.locator("main :is(script, svg[onload], [onerror], [onclick])").count() == 0
    assert page.locator("main a[href^='javascript']").count() == 0


@pytest.mark.parametrize("payload", PAYLOADS)
def test_every_field_of_a_task_is_text(tab: BrowserTab, replies: Replies, payload: str) -> None:
    replies.when("reply badly", Stream((payload, " and more")))
    fields = {"tags": [payload], "metadata": {payload: payload}, "tenant": payload[:60]}
    done = tab.submit_chat(f"reply badly {payload}", system=payload, **fields)
    waiting = tab.submit_chat(payload, model=payload, tags=[payload])
    tab.wait_for(done)
    page = tab.open(f"task/{done}")
    for name in ("Timeline", "Payload", "Raw JSON", "Conversation"):
        page.get_by_role("tab", name=name).click()
        unharmed(page)
    if payload is not LINK:  # which is shown with its stars as bold, on purpose
        expect(page.get_by_role("region", name="assistant")).to_contain_text(payload)
    tab.open("tasks")
    expect(page.locator("tr.task-row", has_text=payload).first).to_be_visible()
    unharmed(page)
    tab.open(f"tasks?open={waiting}")
    expect(tab.panel()).to_contain_text(payload)
    unharmed(page)
    tab.open()
    unharmed(page)
    tab.client.cancel_task(waiting)


def test_errors_of_a_model_server_are_text(tab: BrowserTab, replies: Replies) -> None:
    replies.when("curse", Answer(400, {"error": IMAGE}))
    task_id = tab.submit_chat("curse me", tags=["cursed"])
    tab.wait_for(task_id)
    page = tab.open(f"task/{task_id}")
    expect(page.get_by_role("region", name="error")).to_contain_text(IMAGE)
    unharmed(page)
    tab.open("tasks?tag=cursed")
    expect(page.locator("tr.task-row")).to_contain_text(IMAGE)
    unharmed(page)
    batch = tab.client.submit_batch([generate_task("smollm2", f"curse {SCRIPT}")])
    tab.open(f"batches/{batch.batch_id}")
    expect(tab.panel()).to_contain_text(IMAGE)
    expect(tab.panel()).to_contain_text(SCRIPT)
    unharmed(page)


@pytest.mark.parametrize("payload", (IMAGE, BREAKOUT))
def test_a_cron_is_text(tab: BrowserTab, payload: str) -> None:
    template = {"type": "generate", "model": payload, "prompt": payload, "tags": [payload]}
    cron = {"name": payload, "cron_expr": "0 0 1 1 *", "task_template": template}
    cron_id = tab.client.add_cron_task({**cron, "metadata": {payload: payload}})
    page = tab.open(f"crons/{cron_id}")
    expect(tab.panel().get_by_role("heading", level=1)).to_have_text(payload)
    unharmed(page)
    tab.button("Edit").click()
    expect(tab.field("Name")).to_have_value(payload)
    unharmed(page)
    tab.open(f"crons/{cron_id}")
    tab.button("Remove").click()
    expect(page.get_by_role("dialog")).to_contain_text(payload)
    tab.confirm("Remove")
    unharmed(page)


def test_addresses_are_text(tab: BrowserTab) -> None:
    page = tab.open(f"tasks?q={IMAGE}&tag={SCRIPT}&model={BREAKOUT}&batch_id={IMAGE}")
    expect(page.locator("main")).to_contain_text("No matching tasks")
    expect(page.locator(".chips")).to_contain_text(SCRIPT)
    unharmed(page)
    tab.open(f"crons/{IMAGE}")
    tab.open(f"task/{IMAGE}")
    expect(page.locator("main")).to_contain_text("It may have been deleted")
    unharmed(page)


def test_the_policy_stands_behind_it(tab: BrowserTab) -> None:
    """Should markup ever come of a text, the browser would still not run it."""
    page = tab.open()
    add = "() => { document.body.innerHTML += '<img src=x onerror=\"window.hacked=1\">'; }"
    with pytest.raises(Exception, match="TrustedHTML"):
        page.evaluate(add)
    script = "const s = document.createElement('script'); s.append('window.hacked = 1');"
    page.evaluate(f"() => {{ try {{ {script} document.body.append(s); }} catch {{}} }}")
    unharmed(page)
    tab.ignore_errors("Content Security Policy")
    tab.ignore_errors("Trusted")


def test_no_text_turns_what_stands_beside_it(tab: BrowserTab, replies: Replies) -> None:
    """Marks that turn the direction of what follows, and controls, are written out."""
    turned = "invoice\u202efdp.exe\u2066 \x1b[2J"
    shown = r"invoice\u202efdp.exe\u2066 \u001b[2J"
    replies.when("turn round", Answer(400, {"error": turned}))
    task_id = tab.submit_chat(f"turn round {turned}", tags=[turned, "turned"])
    tab.wait_for(task_id)
    page = tab.open("tasks?tag=turned")
    row = page.locator("tr.task-row")
    expect(row).to_contain_text(shown)
    expect(row.locator("a")).to_have_attribute("title", re.compile(re.escape(shown)))
    tab.open(f"task/{task_id}")
    expect(page.get_by_role("region", name="error")).to_contain_text(shown)
    expect(page.locator(".facts")).to_contain_text(shown)
    page.get_by_role("tab", name="Raw JSON").click()
    expect(page.get_by_role("tabpanel")).to_contain_text(shown.split(" ")[0])
    assert "\u202e" not in page.inner_text("body")
    link = page.locator(".facts a.tag").first
    assert link.evaluate("(node) => getComputedStyle(node).unicodeBidi") == "isolate"
