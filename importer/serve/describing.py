"""Owns what the OpenAPI document says beyond the routes: how callers are known, and nothing that is not so."""

from __future__ import annotations

from typing import Any

from .door import COOKIE

_SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "description": "the token of --token, where the service has one"},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "what POST /session gives a browser"},
}
#: The library's own answer to wrong parameters; ours has status 400.
_NOT_OURS = "HTTPValidationError"


def described(document: dict[str, Any]) -> dict[str, Any]:
    """The document, completed; the same object."""
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
