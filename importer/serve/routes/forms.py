"""Describes request bodies for the OpenAPI document: a form with the workbook, or the options alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .options import InspectOptions

_FILE = {"type": "string", "format": "binary", "description": "the workbook, an .xlsx or .xlsm file"}


def form_of(model: type[InspectOptions] | None) -> dict[str, Any]:
    """Return the OpenAPI `requestBody` of a request with the options of `model`; None for the file alone."""
    if model is None:
        form: dict[str, Any] = {"type": "object", "properties": {"file": _FILE}, "required": ["file"]}
        return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}
    options = model.model_json_schema()["properties"]
    form = {"type": "object", "properties": {"file": _FILE, **options}, "additionalProperties": False}
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
