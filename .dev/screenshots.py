"""`make screenshots`: saves each view of the page in both themes to docs/screenshots/.

The queue is real, in front of two fake model servers (tests/support/fakes/model_server.py), so that
the pictures are the same on every machine. The charts of the last hour show made-up data.
"""

import json
import math
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Browser, Page, Route, expect, sync_playwright  # noqa: E402

from ollama_queue import Client, chat_task, embed_task, generate_task  # noqa: E402
from tests.support.fakes.behaviours import Answer, Behaviour, Stream  # noqa: E402
from tests.support.fakes.model_server import FakeOllama  # noqa: E402
from tests.support.servers.queue_server import QueueServer  # noqa: E402

SHOTS = ROOT / "docs" / "screenshots"
SIZE = {"width": 1280, "height": 800}
ANSWER = (
    "A queue lets **many** ask at once:\n\n"
    "- each question is on disk before it is acknowledged,\n"
    "- the most urgent one goes next,\n"
    "- and what fails is tried again.\n\n"
    "```\nollama-queue submit chat --model qwen3\n```"
)
STORY = "The lighthouse keeper counted the ships that passed, and wrote each one down. "
QUESTIONS = (
    *("Summarise the minutes of Monday's meeting", "Which invoices are still open?"),
    *("Translate the release notes into Welsh", "Name three risks of the migration"),
    *("Explain this stack trace", "Draft a reply to the customer in ticket 4711"),
    *("Turn the table into JSON", "What changed between the two contracts?"),
)
REVIEWS = [f"Is review {number} of the new lamp friendly? Yes or no." for number in range(1, 241)]


class Told(list[str]):
    """The story, word by word at a model's speed, as the page shows speeds too."""

    def __init__(self) -> None:
        super().__init__(f"{word} " for word in (STORY * 60).split())

    def __iter__(self) -> Iterator[str]:
        for word in super().__iter__():
            yield word
            time.sleep(0.06)


class Models:
    """The fake model servers' replies; those to a story last until `end` is set."""

    def __init__(self) -> None:
        self.end = threading.Event()

    def reply(self, body: dict[str, Any]) -> Behaviour:
        text = str(body)
        if "lighthouse" in text:
            return Stream(Told(), then="hang")
        if "stack trace" in text:
            return Answer(400, {"error": "the input is longer than the model's context of 2048"})
        if "review 20 " in text:
            return Stream(("Yes",), gate=self.end)
        return Stream((ANSWER,))


def write_config(server: QueueServer, one: FakeOllama, two: FakeOllama) -> None:
    backends = [
        {"name": "gpu-1", "type": "ollama", "url": one.url, "parallel": 2},
        {"name": "gpu-2", "type": "ollama", "url": two.url, "parallel": 2},
    ]
    server.config.write_text(f"backends: {json.dumps(backends)}\n")


def chat(text: str, model: str = "qwen3", **fields: Any) -> Any:
    return chat_task(model, [{"role": "user", "content": text}], **fields)


def fill(client: Client) -> dict[str, str]:
    """Submit demo data; returns the ids of the items that have their own view."""
    ids = {}
    for number, question in enumerate(QUESTIONS):
        level = (5, 10, 5, 1, 15, 5, 10, 5)[number]
        ids[question] = client.submit_task(chat(question, priority=level, tags=["office"]))
    client.submit_task(embed_task("nomic-embed-text", ["a lamp", "a lighthouse"], tags=["search"]))
    for task_id in ids.values():
        client.wait(task_id, timeout=30)
    for model in ("qwen3", "smollm2", "llama3.2"):
        story = chat(f"Tell the {model} story of the lighthouse", model)
        ids["story"] = client.submit_task(story)
    ids["batch"] = client.submit_batch(
        [generate_task("smollm2", text, priority="low", tags=["reviews"]) for text in REVIEWS]
    ).batch_id
    for text in ("Sort the inbox", "Write the weekly report"):
        client.submit_task(chat(text, "qwen3", scheduled_at=datetime.now(UTC) + timedelta(hours=3)))
    client.submit_task(chat("What does the big one think?", "llama3.1:405b"))
    ids["cron"] = crons(client)
    return ids


def crons(client: Client) -> str:
    """Add some crons; returns the id of one that has run."""
    made = ""
    for name, expr, zone, text in (
        ("Nightly summary", "30 2 * * *", "Europe/London", "Summarise what happened today"),
        ("Morning news", "0 7 * * 1-5", "Europe/Berlin", "What is new in our field?"),
        ("Health of the shop", "*/15 * * * *", "UTC", "Is anything odd in these figures?"),
    ):
        template = {"type": "generate", "model": "smollm2", "prompt": text, "tags": ["cron"]}
        cron = {"name": name, "cron_expr": expr, "timezone": zone, "task_template": template}
        made = client.add_cron_task(cron)
    client.run_cron_task(made)
    client.add_cron_task({**cron, "name": "Old report", "enabled": False})
    return made


def an_hour(route: Route) -> None:
    """Answer with the made-up history of a busy hour."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    minutes = json.loads(route.fetch().text())
    form = minutes[-1]
    made = []
    for ago in range(59, 0, -1):
        swell = 1 + math.sin(ago / 7) + 0.4 * math.sin(ago * 2.1)
        done = max(0, round(9 * swell))
        at = (now - timedelta(minutes=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
        change = {
            "submitted": done + 1,
            "started": done,
            "completed": done,
            "failed": ago % 19 == 0,
        }
        waits = {"wait_mean_s": 1.5 * swell**2 + 0.4, "wait_max_s": 4 * swell**2 + 1}
        made.append(form | {"at": at} | change | waits | {"tokens": 220 * done})
    route.fulfill(json=made + minutes[-1:])


def views(ids: dict[str, str]) -> dict[str, tuple[str, str | re.Pattern[str]]]:
    """The address of each picture, and text that must be visible."""
    return {
        "overview": ("overview", re.compile(r"\d/s")),  # the speed of a reply
        "tasks": (f"tasks?open={ids[QUESTIONS[3]]}", "each question is on disk"),
        "task": (f"task/{ids['story']}", "The lighthouse"),
        "submit": ("submit", "Message"),
        "crons": (f"crons/{ids['cron']}", "Latest tasks"),
        "batches": (f"batches/{ids['batch']}", "Download results"),
    }


def shoot(browser: Browser, url: str, ids: dict[str, str], theme: str) -> None:
    page = browser.new_page(base_url=url, viewport=SIZE, color_scheme=theme, locale="en-GB")
    page.route("**/api/history", an_hour)
    for name, (address, text) in views(ids).items():
        open_view(page, address, text)
        page.screenshot(path=SHOTS / f"{name}-{theme}.png", animations="disabled")
    page.close()


def open_view(page: Page, address: str, text: str | re.Pattern[str]) -> None:
    page.goto("about:blank")
    page.goto(f"/#/{address}")
    expect(page.locator("main")).to_contain_text(text, timeout=20_000)
    expect(page.locator(".connection.live")).to_be_visible()
    expect(page.locator("main")).not_to_contain_text("Loading")


def main() -> None:
    chromium = shutil.which(os.environ.get("CHROMIUM", "chromium"))
    if chromium is None:
        sys.exit("make screenshots needs Chromium: apt-get install chromium")
    SHOTS.mkdir(parents=True, exist_ok=True)
    models = Models()
    with (
        TemporaryDirectory() as folder,
        FakeOllama(models.reply) as one,
        FakeOllama(models.reply) as two,
        sync_playwright() as playwright,
    ):
        one.lists("qwen3", "smollm2", "nomic-embed-text", loaded=["qwen3", "smollm2"])
        two.lists("llama3.2", "smollm2", "qwen3", loaded=["llama3.2"])
        server = QueueServer(Path(folder), one.url)
        write_config(server, one, two)
        with server:
            ids = fill(server.client())
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for theme in ("light", "dark"):
                shoot(browser, server.base_url, ids, theme)
            browser.close()
            models.end.set()
    print(f"{len(list(SHOTS.glob('*.png')))} pictures in {SHOTS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
