"""Writes floats as texts that read back as the same floats."""

from __future__ import annotations

from importer.cells.frame import MAX_EXACT_INTEGER


def number_text(value: float) -> str:
    """Return the shortest text of a float that reads back as the same one; whole numbers without a point."""
    if value.is_integer() and abs(value) < MAX_EXACT_INTEGER and (value or not str(value).startswith("-")):
        return str(int(value))
    return repr(value)
