"""Quotes names and values for SQL."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

from importer.errors import TargetRefused


def quote(*names: str) -> str:
    """Return names as one quoted, dotted identifier.

    Raises:
        TargetRefused: a name is empty, too long or has a NUL character.
    """
    for name in names:
        if not name or "\0" in name or len(name.encode()) > 63:  # noqa: PLR2004 - NAMEDATALEN - 1
            raise TargetRefused(f"{name!r} cannot be the name of a table or column", choice="1-63 bytes")
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def quoted_list(names: Iterable[str]) -> str:
    """Return names quoted and separated by commas."""
    return ", ".join(quote(name) for name in names)


def literal(text: str) -> str:
    """Return a text as a quoted SQL literal."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def sql_value(value: Any) -> str:
    """Return a value as SQL: NULL, a number, a quoted text, or JSON for anything else."""
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(value)
    return literal(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
