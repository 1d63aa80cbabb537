"""Completes the OpenAPI document: failures, request bodies, events, names of schemas, and how callers are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic.json_schema import models_json_schema

from importer.serve.http.access import COOKIE
from importer.serve.models.events import EVENTS
from importer.serve.models.service import ErrorAnswer

if TYPE_CHECKING:
    from pydantic import BaseModel

    from .options import InspectOptions

_DESCRIPTIONS = {
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
    503: "The database does not answer, the service cannot use its own file, or it is stopping",
    507: "The disk of the service is full",
}


_RETRY_AFTER_HEADERS = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait"}}


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI descriptions of error responses with these statuses."""
    described: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        described[status] = {"model": ErrorAnswer, "description": _DESCRIPTIONS[status]}
        if status == 429:  # noqa: PLR2004 - the only one that says when to try again
            described[status]["headers"] = _RETRY_AFTER_HEADERS
    return described


_FILE_SCHEMA = {"type": "string", "format": "binary", "description": "a workbook or a text file (.csv, .tsv)"}


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


_SCHEMAS = "#/components/schemas/"
#: Schema of FastAPI's response to invalid parameters; the service responds with status 400 and its own schema.
_FASTAPI_ERROR_SCHEMA = "HTTPValidationError"


def schema_ref(model: type[BaseModel]) -> dict[str, str]:
    """Return a reference to the schema of a model."""
    return {"$ref": f"{_SCHEMAS}{model.__name__}"}


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Complete the document in place, and return it."""
    schemas = document["components"]["schemas"]
    events = models_json_schema([(model, "validation") for model in EVENTS.values()], ref_template=_SCHEMAS + "{model}")
    for name, schema in events[1]["$defs"].items():
        schemas.setdefault(name, schema)
    document["components"]["securitySchemes"] = _SECURITY_SCHEMES
    document["security"] = [{}, {"token": []}, {"session": []}]
    for methods in document["paths"].values():
        for operation in methods.values():
            answers = operation["responses"]
            if _FASTAPI_ERROR_SCHEMA in str(answers.get("422", "")):
                del answers["422"]
    for name in (_FASTAPI_ERROR_SCHEMA, "ValidationError"):
        schemas.pop(name, None)
    # A schema is named by its title: that is its class, but for those that were published under another name.
    names = {f"{_SCHEMAS}{name}": f"{_SCHEMAS}{schema.get('title', name)}" for name, schema in schemas.items()}
    document["components"]["schemas"] = {schema.get("title", name): schema for name, schema in schemas.items()}
    _rename_refs(document, names)
    return document


def _rename_refs(node: Any, names: dict[str, str]) -> None:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            node["$ref"] = names.get(node["$ref"], node["$ref"])
        for child in node.values():
            _rename_refs(child, names)
    elif isinstance(node, list):
        for child in node:
            _rename_refs(child, names)
