"""Writes a table as HTML for notebooks; everything in it is escaped, because a workbook may hold any text."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_TEXT_COLUMNS = 3


def html_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """Return HTML with a title, a table whose columns from the fourth on hold numbers, and notes.

    Args:
        title: lines of text.
        columns: titles of the columns.
        rows: texts of the cells.
        notes: lines of text below the table.
    """
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, range(len(row)), row))}</tr>" for row in rows)
    below = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        f"<p>{'<br>'.join(map(escape, title.splitlines()))}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" + (f"<ul>{below}</ul>" if below else "")
    )


def _cell(number: int, text: str) -> str:
    style = "" if number < _TEXT_COLUMNS else ' style="text-align: right"'
    return f"<td{style}>{escape(text)}</td>"
