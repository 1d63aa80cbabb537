"""Completes the OpenAPI document: failures, request bodies, and how callers are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from importer.serve.http.access import COOKIE

from .models import ErrorAnswer

if TYPE_CHECKING:
    from .options import InspectOptions

_WORDS = {
    400: "An option is wrong, or the file is missing or has no workbook's suffix",
    401: "The token is missing or wrong",
    403: "The request comes from a page of another site, or the table must not be loaded into",
    404: "There is no such upload, run, result or contract",
    408: "The body arrived too slowly",
    409: "The state of the run does not allow this, or the run was cancelled",
    413: "The body is larger than the service accepts",
    421: "The Host header does not name this service",
    422: "The workbook, the contract or the rows were refused, or a limit or the reject budget was exceeded",
    429: "Too many requests at once; Retry-After says when to try again",
    500: "The service failed, or the machine that it runs on",
    503: "The database does not answer, or the service is stopping",
    507: "The disk of the service is full",
}


_RETRY_AFTER_HEADERS = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait"}}


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI descriptions of error responses with these statuses."""
    described: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        described[status] = {"model": ErrorAnswer, "description": _WORDS[status]}
        if status == 429:  # noqa: PLR2004 - the only one that says when to try again
            described[status]["headers"] = _RETRY_AFTER_HEADERS
    return described


_FILE_SCHEMA = {"type": "string", "format": "binary", "description": "the workbook, an .xlsx or .xlsm file"}


def request_body(model: type[InspectOptions] | None) -> dict[str, Any]:
    """Return the OpenAPI `requestBody` of a request with the options of `model`; None for the file alone."""
    if model is None:
        form: dict[str, Any] = {"type": "object", "properties": {"file": _FILE_SCHEMA}, "required": ["file"]}
        return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}
    options = model.model_json_schema()["properties"]
    form = {"type": "object", "properties": {"file": _FILE_SCHEMA, **options}, "additionalProperties": False}
    alone = {"type": "object", "properties": options, "additionalProperties": False, "required": ["upload"]}
    encoding = {"file": {"contentType": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form, "encoding": encoding},
                "application/json": {"schema": alone},
                "application/x-www-form-urlencoded": {"schema": alone},
            },
        }
    }


_SECURITY_SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "description": "the service's token, if it has one"},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "session cookie that POST /session sets in a browser",
    },
}


#: Schema of FastAPI's response to invalid parameters; the service responds with status 400 and its own schema.
_FASTAPI_ERROR_SCHEMA = "HTTPValidationError"


def described(document: dict[str, Any]) -> dict[str, Any]:
    """Complete the document in place, and return it."""
    document["components"]["securitySchemes"] = _SECURITY_SCHEMES
    document["security"] = [{}, {"token": []}, {"session": []}]
    for methods in document["paths"].values():
        for operation in methods.values():
            answers = operation["responses"]
            if _FASTAPI_ERROR_SCHEMA in str(answers.get("422", "")):
                del answers["422"]
    for name in (_FASTAPI_ERROR_SCHEMA, "ValidationError"):
        document["components"]["schemas"].pop(name, None)
    return document
