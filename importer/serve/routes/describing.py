"""Completes the OpenAPI document: adds how callers authenticate, removes responses that never occur."""

from __future__ import annotations

from typing import Any

from importer.serve.http.access import COOKIE

_SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "description": "the service's token, if it has one"},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "session cookie that POST /session sets in a browser",
    },
}
#: Schema of FastAPI's response to invalid parameters; the service responds with status 400 and its own schema.
_NOT_OURS = "HTTPValidationError"


def described(document: dict[str, Any]) -> dict[str, Any]:
    """Complete the document in place, and return it."""
    document["components"]["securitySchemes"] = _SCHEMES
    document["security"] = [{}, {"token": []}, {"session": []}]
    for methods in document["paths"].values():
        for operation in methods.values():
            answers = operation["responses"]
            if _NOT_OURS in str(answers.get("422", "")):
                del answers["422"]
    for name in (_NOT_OURS, "ValidationError"):
        document["components"]["schemas"].pop(name, None)
    return document
