"""Turns texts that are lists into array literals of PostgreSQL: `{a,b}` as it is, and JSON lists."""

from __future__ import annotations

import json
from typing import Any

from .structured import is_json


def array_literal(text: str) -> str | None:
    """Return the array literal for a text, or None if it is neither a literal nor a JSON list of values and lists.

    What stands between the braces is for the server to check, which knows the type of the elements.
    """
    stripped = text.strip()
    if "\0" in text:
        return None
    if stripped.startswith("{") and stripped.endswith("}"):
        return stripped
    return _literal(json.loads(stripped)) if is_json(stripped, list) else None


def _literal(value: Any) -> str | None:
    if isinstance(value, list):
        parts = [_literal(each) for each in value]
        return None if None in parts else f"{{{','.join(part or '' for part in parts)}}}"
    if isinstance(value, dict):
        return None
    if value is None:
        return "NULL"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    # Quoted, so that no text is taken for NULL, a comma or a brace.
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
