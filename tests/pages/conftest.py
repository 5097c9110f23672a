"""A real browser on a real queue server with a fake model server.

There is one server for all tests, and a browser for each module: while Playwright's synchronous
API is open, its thread can run no other event loop, and tests of other folders need one.
"""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from tests.support.fakes.model_server import FakeOllama
from tests.support.harness.page import MODELS, BrowserTab, Replies
from tests.support.servers.queue_server import QueueServer

CHROMIUM = shutil.which(os.environ.get("CHROMIUM", "chromium"))

expect.set_options(timeout=15_000)


def skip(why: str) -> None:
    """Skip the test, or fail it where no test may be skipped, as in CI."""
    if os.environ.get("OLLAMA_QUEUE_NO_SKIPS"):
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Debian's Chromium, since Playwright's own would be another download."""
    if CHROMIUM is None:
        skip("the tests of the page need Chromium: apt-get install chromium")
    return CHROMIUM


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # --no-sandbox: the sandbox needs privileges that root in a container lacks.
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        made = playwright.chromium.launch(executable_path=chromium, args=options)
        yield made
        made.close()


@pytest.fixture(scope="session")
def replies() -> Replies:
    """The replies of the fake model server."""
    return Replies()


@pytest.fixture(scope="session")
def fake(replies: Replies) -> Iterator[FakeOllama]:
    with FakeOllama(replies.behaviour_for) as made:
        made.lists(*MODELS, loaded=["smollm2"])
        yield made


@pytest.fixture(scope="session")
def server(
    chromium: str, fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[QueueServer]:
    """Requires Chromium first: without it nothing needs to start."""
    with QueueServer(tmp_path_factory.mktemp("queue"), fake.url) as made:
        yield made


@pytest.fixture
def context(browser: Browser, server: QueueServer) -> Iterator[BrowserContext]:
    made = browser.new_context(
        base_url=server.base_url, viewport={"width": 1280, "height": 800}, locale="en-GB"
    )
    made.set_default_timeout(15_000)
    yield made
    made.close()


@pytest.fixture
def tab(context: BrowserContext, server: QueueServer) -> Iterator[BrowserTab]:
    """A new browser tab; at its end, the page must have had no errors."""
    made = BrowserTab(context.new_page(), server)
    yield made
    assert made.errors() == []
