"""The page's files, and who gets the page at the root."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ollama_queue.http.native.page_files import FOLDER, files
from tests.support.harness.app import AppHarness, error

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def http(tmp_path: Path) -> Iterator[httpx.Client]:
    made = AppHarness(tmp_path)
    yield made.http
    made.close()


def test_a_browser_gets_the_page(http: httpx.Client) -> None:
    answer = http.get("/", headers=HTML)

    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers.get_list("Vary") == ["Accept", "Origin"]
    assert "<title>Ollama Queue</title>" in answer.text


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
def test_a_program_gets_what_ollama_says(http: httpx.Client, accept: str) -> None:
    answer = http.get("/", headers={"Accept": accept})

    assert (answer.status_code, answer.text) == (200, "Ollama is running")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert http.head("/", headers={"Accept": accept}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/static/app.js", "/static/views/tasks.js", "/static/styles/base.css"]
)
def test_nothing_but_its_own_files_may_run(http: httpx.Client, path: str) -> None:
    headers = http.get(path, headers=HTML).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))

    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_files_have_their_types_and_are_sent_once(http: httpx.Client) -> None:
    first = http.get("/static/app.js")
    again = http.get("/static/app.js", headers={"If-None-Match": first.headers["ETag"]})
    other = http.get("/static/app.js", headers={"If-None-Match": '"another"'})

    assert first.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert http.get("/static/styles/base.css").headers["Content-Type"] == "text/css; charset=utf-8"
    assert http.get("/static/icon.svg").headers["Content-Type"] == "image/svg+xml"
    assert (again.status_code, again.content) == (304, b"")
    assert other.content == first.content


@pytest.mark.parametrize(
    "path", ["nothing.js", "../pyproject.toml", "%2e%2e/pyproject.toml", "/etc/passwd", ""]
)
def test_there_are_no_other_files(http: httpx.Client, path: str) -> None:
    assert error(http.get(f"/static/{path}"))[:2] == (404, "not_found")


def test_what_a_file_asks_for_is_there() -> None:
    for name, file in files().items():
        text = file.body.decode()
        if name.endswith(".js"):
            wanted = re.findall(r'(?:from|import) "(\.{1,2}/[^"]+)"', text)
            for each in wanted:
                assert ((FOLDER / name).parent / each).resolve().is_file(), f"{name}: {each}"
        if name.endswith(".html"):
            for each in re.findall(r'(?:src|href)="static/([^"]+)"', text):
                assert each in files(), each
            assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=", text)


def test_no_script_makes_markup_of_a_text() -> None:
    sinks = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    )
    for name, file in files().items():
        assert not sinks.search(file.body.decode()), name
