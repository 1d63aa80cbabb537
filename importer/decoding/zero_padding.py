"""Finds cells whose number format pads with zeros: `00000` shows 2494 as 02494, a postal code or an article number.

The styles part lists custom formats in `numFmts`, and in `cellXfs` the format of each cell style (the attribute `s` of
a cell is an index into it; ECMA-376 part 1, 18.8.10 and 18.8.31). None of Excel's built-in formats pads with zeros.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.parsers import expat

import polars as pl

from importer.cells.frame import ROW, pad, part
from importer.excel.addresses import column_index

if TYPE_CHECKING:
    from pathlib import Path

#: Two or more zeros, also as the positive section of a longer format (`00000;-00000`).
_ZERO_FORMAT = re.compile(r"(0{2,255})(?:;.*)?")
_MAY_PAD = re.compile(rb"""formatCode=["']00""")


def padded_styles(styles: Path | None) -> tuple[tuple[int, int], ...]:
    """Return the cell styles that pad with zeros, as pairs of style index and number of digits.

    Args:
        styles: file with the inflated styles part, or None if the workbook has none.
    """
    xml = b"" if styles is None else styles.read_bytes()
    if _MAY_PAD.search(xml) is None:
        return ()
    digits: dict[str, int] = {}
    used: list[str] = []
    opened: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        local = name.rsplit("}", 1)[-1]
        if local == "numFmt" and (match := _ZERO_FORMAT.fullmatch(attributes.get("formatCode", ""))):
            digits[attributes.get("numFmtId", "")] = len(match[1])
        if local == "xf" and opened[-1:] == ["cellXfs"]:
            used.append(attributes.get("numFmtId", ""))
        opened.append(local)

    parser = expat.ParserCreate(namespace_separator="}")
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: opened.pop()
    try:
        parser.Parse(xml, True)
    except (expat.ExpatError, ValueError, LookupError):
        return ()  # the engine reports that the styles cannot be read
    return tuple((style, digits[number]) for style, number in enumerate(used) if number in digits)


def mark_padded(frame: pl.DataFrame, rows: bytes, styles: tuple[tuple[int, int], ...]) -> pl.DataFrame:
    """Return the frame with an added array of padded widths (in digits) for each column that has padded numbers.

    Args:
        frame: frame of a window.
        rows: XML of the window.
        styles: pairs of style index and number of digits, from `padded_styles`.
    """
    known = {b"%d" % style: digits for style, digits in styles if b's="%d"' % style in rows}
    if not known:
        return frame
    cell = re.compile(rb'<c\b(?=[^>]*\ss="(%b)")[^>]*\sr="([A-Z]{1,3})(\d{1,7})"' % b"|".join(known))
    found: dict[bytes, dict[int, int]] = {}
    for style, letters, row in cell.findall(rows):
        found.setdefault(letters, {})[int(row)] = known[style]
    for letters, digits in found.items():
        column = column_index(letters.decode())
        if part(column, "number") in frame.columns:
            marks = {ROW: list(digits), pad(column): list(digits.values())}
            widths = pl.DataFrame(marks, schema={ROW: pl.Int64, pad(column): pl.Int16})
            frame = frame.join(widths, on=ROW, how="left", maintain_order="left")
    return frame
