"""Builds the list of bad cells that the page shows, from the rejects workbook of a run."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from importer.excel.addresses import column_letters
from importer.excel.workbook import open_workbook
from importer.settings import Limits

if TYPE_CHECKING:
    from pathlib import Path

#: Maximum number of cells in the list; the rejects workbook has them all.
MAX_CELLS = 1_000
_MAX_VALUE_CHARS = 200
#: Matches the start of a reason as `rejects` writes it, `D13 type-error: Email is not a valid email`, joined by `; `.
_REASON = re.compile(r"(?:^|; )(?:([A-Z]{1,3})|row )(\d+) ([a-z][a-z-]*): ")


def write_bad_cells(rejects: Path, path: Path, rows: int) -> None:
    """Write the first bad cells of a rejects workbook as JSON (`rows`, `cells`, `truncated`).

    Args:
        rejects: path of the rejects workbook.
        path: path of the JSON file.
        rows: number of rejects in the run; the workbook may be read only in part.
    """
    cells: list[dict[str, Any]] = []
    origin = open_workbook(rejects, Limits()).origin
    sheet, letters = (origin.sheet, origin.letters) if origin else ("", ())
    header, lines = _read(rejects)
    for line in lines:
        by_letter = {
            letters[n] if n < len(letters) else column_letters(n): (title, value)
            for n, (title, value) in enumerate(zip(header[2:], line[2:], strict=True))
        }
        cells += _cells(sheet, line[1] or "", by_letter)
        if len(cells) >= MAX_CELLS:
            break
    shown = {"rows": rows, "cells": cells[:MAX_CELLS], "truncated": len(cells) > MAX_CELLS or len(lines) < rows}
    path.write_text(json.dumps(shown, ensure_ascii=False), encoding="utf-8")


def _read(path: Path) -> tuple[list[str], list[list[str | None]]]:
    """Return the header and the first rows of a rejects workbook, as texts."""
    import fastexcel

    reader = fastexcel.read_excel(path)
    sheet = reader.load_sheet(0, header_row=None, n_rows=MAX_CELLS + 1, dtypes="string")
    rows = [list(row) for row in sheet.to_polars().rows()]
    return [text or "" for text in rows[0]], rows[1:]


def _cells(sheet: str, reasons: str, by_letter: dict[str, tuple[str, str | None]]) -> list[dict[str, Any]]:
    found = list(_REASON.finditer(reasons))
    cells = []
    for number, match in enumerate(found):
        end = found[number + 1].start() if number + 1 < len(found) else len(reasons)
        letter, row = match[1], int(match[2])
        header, value = by_letter.get(letter, ("", None)) if letter else (None, None)
        cells.append({
            "row": row, "address": _address(sheet, letter, row), "column": header, "rule": match[3],
            "message": reasons[match.end() : end], "value": None if value is None else value[:_MAX_VALUE_CHARS],
        })  # fmt: skip
    return cells


def _address(sheet: str, letter: str | None, row: int) -> str:
    name = sheet if sheet.isidentifier() else "'" + sheet.replace("'", "''") + "'"
    return f"{name}!{letter}{row}" if letter else f"{name}!{row}:{row}"
