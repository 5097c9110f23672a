"""Errors in the form of Anthropic's API."""

from typing import Any

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_body(status: int, message: str, request_id: str | None) -> dict[str, Any]:
    """The body of an answer with this `status`; it is also the data of an `error` event."""
    kind = "invalid_request_error" if 400 <= status < 500 else "api_error"
    error = {"type": _TYPES.get(status, kind), "message": message}
    return {"type": "error", "error": error, "request_id": request_id}
