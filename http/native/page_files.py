"""The page's files, read once and served with caching and security headers."""

import hashlib
from functools import cache
from pathlib import Path

from msgspec import Struct

from ...actors.core.model.errors import NotFound
from .. import wire
from ..requests import reading
from ..requests.exchange import Content, Routes, current

FOLDER = Path(__file__).resolve().parents[2] / "static"  # in a checkout, a wheel and a binary
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# No inline code, nothing from other origins, no markup from text. Images in payloads are shown as
# data: URLs.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # revalidate the ETag each time
}
GREETING = b"Ollama is running"  # Ollama's clients check for it


class PageFile(Struct, frozen=True):
    body: bytes
    media: str
    etag: str


@cache
def files() -> dict[str, PageFile]:
    """The page's files by their path under `/static/`."""
    by_address = {}
    for path in FOLDER.rglob("*"):
        if path.suffix in TYPES:
            body = path.read_bytes()
            etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            by_address[path.relative_to(FOLDER).as_posix()] = PageFile(
                body, TYPES[path.suffix], etag
            )
    return by_address


def add_page_routes(app: Routes) -> None:
    def root() -> Content:
        if "text/html" in (reading.header("Accept") or "").lower():
            answer = _answer("index.html")
        else:
            current().set_header("Content-Type", "text/plain")
            answer = Content(GREETING)
        current().set_header("Vary", "Accept")
        return answer

    app.get("/", callback=root, role=None)
    app.get(f"{wire.STATIC}/<name:path>", callback=_answer, role=None)


def _answer(name: str) -> Content:
    """A file, or 304 if the browser has it. Raises `NotFound`."""
    file = files().get(name)
    if file is None:
        raise NotFound(f"the page has no file {name}")
    exchange = current()
    exchange.response_headers |= {**HEADERS, "ETag": file.etag, "Content-Type": file.media}
    known = reading.header("If-None-Match") or ""
    if file.etag in known or known.strip() == "*":
        exchange.status = 304
        return Content(b"")
    return Content(file.body)
