"""Headers and credentials for a model server, and the secrets that no error may show."""

import base64

import httpx
import msgspec

_SECRET_LENGTH = 8  # a shorter key is a placeholder, such as `ollama`


def headers_of(url: httpx.URL, key: str) -> httpx.Headers:
    headers = {
        "Host": url.netloc.decode("ascii"),
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "User-Agent": "ollama-queue",
    }
    if key:
        headers["Authorization"] = f"Bearer {key}"
    elif url.userinfo:
        login = base64.b64encode(f"{url.username}:{url.password}".encode())
        headers["Authorization"] = f"Basic {login.decode()}"
    return httpx.Headers(headers, encoding="utf-8")


def secrets_of(url: httpx.URL, key: str, headers: httpx.Headers) -> list[str]:
    """What no error may show, longest first: the Authorization header and its parts."""
    sent = headers.get("authorization", "")
    candidates = (sent[6:].strip(), key, url.password, *url.params.values())
    parts = [part for part in candidates if len(part) >= _SECRET_LENGTH]
    known = {sent, *parts} - {""}
    written = {msgspec.json.encode(secret).decode()[1:-1] for secret in known}
    return sorted(known | written, key=len, reverse=True)
