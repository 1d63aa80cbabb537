"""Parses the cells of a window one by one, strictly: address, style, type and value, or what is wrong with it.

The engine reads whole windows at once and refuses a window for one bad cell. Here, only that cell is bad. Element
meanings: ECMA-376 part 1, 18.3.1.4 (c), 18.3.1.73 (row), 18.18.11 (types of a cell).
"""

from __future__ import annotations

import functools
import math
import re
from html import unescape
from typing import TYPE_CHECKING, Literal, NamedTuple

from importer.errors import WorkbookRefused

from .addresses import MAX_COLUMNS, MAX_ROWS, column_index, column_letters

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROW_OR_CELL = re.compile(
    # As nearly all programs write a cell with a value; then any other cell.
    rb'<c r="([A-Z]{1,3})([1-9][0-9]{0,6})"(?: s="([0-9]+)")?(?: t="([a-zA-Z]+)")?><v>([^<]+)</v></c>'
    rb"|<row\b([^>]*?)/?>|<c\b((?:\s[^>]*?)?)(?:/>|>(.*?)</c>)",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(rb"""(?<![\w:])([rst])\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_ADDRESS = re.compile(rb"([A-Za-z]{1,3})0*([1-9][0-9]{0,6})")
_FAR_COLUMN = re.compile(rb"[A-Za-z]{4,}[0-9]+")
_BEYOND_COLUMN = "a cell lies beyond column XFD, the last one a sheet can have"
_ROW_NUMBER = re.compile(rb"0*([1-9][0-9]{0,6})")
_VALUE = re.compile(rb"<v\b[^>]*?(?:/>|>(.*?)</v>)", re.DOTALL)
_INLINE = re.compile(rb"<is\b[^>]*?(?:/>|>(.*?)</is>)", re.DOTALL)
_FORMULA = re.compile(rb"<f\b[^>]*?(?:/>|>(.*?)</f>)", re.DOTALL)
_EXTENSIONS = re.compile(rb"<extLst\b.*?</extLst>", re.DOTALL)
_NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INDEX = re.compile(rb"[0-9]{1,10}")
_BOOLEANS = {b"1": b"1", b"true": b"1", b"0": b"0", b"false": b"0"}
#: What a cell holds: types that the engine reads, a date in ISO 8601, an empty text (`blank`), what has no value, or
#: nothing.
Kind = Literal[
    "number", "shared", "text", "inline", "boolean", "date", "blank", "error", "formula", "unreadable", "empty"
]


class CellElement(NamedTuple):
    """A cell.

    Attributes:
        row: sheet row, 1-based.
        column: sheet column, 0-based.
        kind: what it holds.
        content: XML of the value; of an error, a formula or an unreadable cell its plain text, in UTF-8.
        style: value of its attribute `s`; empty without one.
    """

    row: int
    column: int
    kind: Kind
    content: bytes
    style: bytes


def parse_cells(rows: bytes, first_row: int) -> Iterator[CellElement]:
    """Yield the cells of a window that are not empty, in document order.

    Args:
        rows: XML of the rows.
        first_row: sheet row of a first `<row>` without number; a row or a cell without address follows its predecessor.

    Raises:
        WorkbookRefused: an address is none, lies beyond the last row or column, or has two cells with content.
    """
    row, column = first_row - 1, -1
    seen: set[int] = set()
    for match in _ROW_OR_CELL.finditer(rows):
        if match[6] is not None:
            given = _attributes(match[6]).get(b"r")
            row, column = (_row_number(given) if given is not None else row + 1), -1
            continue
        cell = _plain_cell(match) if match[1] else _any_cell(match, row, column + 1)
        column = cell.column
        if cell.kind == "empty":
            continue
        place = cell.row * MAX_COLUMNS + column
        if place in seen:
            raise _refuse(f"cell {column_letters(column)}{cell.row} is written twice")
        seen.add(place)
        yield cell


def parse_cell(xml: bytes, row: int, column: int) -> CellElement:
    """Return one cell; without an address it is the one in `row` and `column`.

    Raises:
        WorkbookRefused: its address is none, or lies beyond the last row or column.
    """
    match = _ROW_OR_CELL.match(xml)
    assert match is not None
    assert match[6] is None
    return _plain_cell(match) if match[1] else _any_cell(match, row, column)


def _plain_cell(match: re.Match[bytes]) -> CellElement:
    row, column = _checked(int(match[2]), _column(match[1]))
    return CellElement(row, column, *_with_value(match[4] or b"n", match[5]), match[3] or b"")


def _any_cell(match: re.Match[bytes], row: int, column: int) -> CellElement:
    attributes = _attributes(match[7])
    row, column = _address(attributes.get(b"r"), row, column)
    style = attributes.get(b"s", b"")
    kind, content = _classify(attributes.get(b"t", b"n").strip(), match[8] or b"")
    return CellElement(row, column, kind, content, style if style.isdigit() else b"")


def _attributes(text: bytes) -> dict[bytes, bytes]:
    return {name: double or single for name, double, single in _ATTRIBUTE.findall(text)}


def _row_number(given: bytes) -> int:
    match = _ROW_NUMBER.fullmatch(given.strip())
    if match is None or int(match[1]) > MAX_ROWS:
        raise _refuse(f"a row has the number {_shown(given)}; a sheet has rows 1 to {MAX_ROWS:,}")
    return int(match[1])


def _address(given: bytes | None, row: int, column: int) -> tuple[int, int]:
    """Return row and column of a cell: those of its address, else the given ones, which follow its predecessor's."""
    if given is not None:
        match = _ADDRESS.fullmatch(given.strip())
        if match is None:
            if _FAR_COLUMN.fullmatch(given.strip()):
                raise _refuse(_BEYOND_COLUMN)
            raise _refuse(f"a cell in row {row} has the address {_shown(given)}; a sheet has cells A1 to XFD1048576")
        row, column = int(match[2]), _column(match[1].upper())
    return _checked(row, column)


@functools.cache
def _column(letters: bytes) -> int:
    return column_index(letters.decode())


def _checked(row: int, column: int) -> tuple[int, int]:
    """Return row and column, which are those of a cell that a sheet can have."""
    if column >= MAX_COLUMNS:
        raise _refuse(_BEYOND_COLUMN)
    if not 0 < row <= MAX_ROWS:
        raise _refuse(
            f"a cell lies beyond row {MAX_ROWS:,}, the last one a sheet can have" if row else "a cell is in no row"
        )
    return row, column


def _shown(text: bytes) -> str:
    shown = text.decode("utf-8", "replace")
    return repr(shown if len(shown) <= 30 else shown[:30] + "…")  # noqa: PLR2004 - as much as a person reads


def _refuse(fact: str) -> WorkbookRefused:
    return WorkbookRefused(fact, choice="open it in Excel and save it again")


def _classify(kind: bytes, content: bytes) -> tuple[Kind, bytes]:
    """Return the kind of a cell and its content."""
    content = _EXTENSIONS.sub(b"", content) if b"<extLst" in content else content
    values = [value or b"" for value in _VALUE.findall(content)] if b"<v" in content else []
    inline = list(_INLINE.finditer(content)) if b"<is" in content else []
    filled = [value for value in values if value]
    if len(filled) + len(inline) > 1:
        told = [*filled, *(re.sub(rb"<[^>]*>", b"", each[1] or b"") for each in inline)]
        return "unreadable", b"several values: " + b" | ".join(map(_plain, told))
    if inline:
        written = inline[0][1] or b""
        return ("unreadable", loose) if b"<" not in written and (loose := _loose(written)) else ("inline", written)
    if not filled:
        return _without_value(kind, content, has_element=bool(values))
    return _with_value(kind, filled[0])


def _without_value(kind: bytes, content: bytes, *, has_element: bool) -> tuple[Kind, bytes]:
    if kind == b"str" and has_element:
        return "blank", b""
    formula = _FORMULA.search(content) if b"<f" in content else None
    if formula:
        return "formula", b"=" + _plain(formula[1] or b"")
    return ("unreadable", loose) if (loose := _loose(content)) else ("empty", b"")


def _loose(content: bytes) -> bytes:
    """Return a text that stands in none of the elements that a cell has, which some reader may show."""
    return _plain(re.sub(rb"<[^>]*>", b"", content)).strip() if content else b""


def _with_value(kind: bytes, value: bytes) -> tuple[Kind, bytes]:
    """Return kind and content of a cell with this type attribute and this text in its `<v>`."""
    if kind == b"n" and value.isdigit() and len(value) < 16:  # noqa: PLR2004 - far from too large
        return "number", value
    match kind:
        case b"str" | b"inlineStr":  # an inline text belongs in `<is>`, but it is a text in `<v>`, too
            return "text", value
        case b"e":
            return "error", _plain(value)
        case b"d":
            return "date", value.strip()
        case b"s" if _INDEX.fullmatch(value.strip()):
            return "shared", value.strip()
        case b"b" if (flag := _BOOLEANS.get(value.strip().lower())) is not None:
            return "boolean", flag
        case b"n" if _NUMBER.fullmatch(value.strip()):
            return _number(value.strip())
    return "unreadable", _plain(value)


def _number(text: bytes) -> tuple[Kind, bytes]:
    """Return a number, or an unreadable cell if it is too large for a 64-bit float."""
    return ("unreadable" if math.isinf(float(text)) else "number"), text


def _plain(xml: bytes) -> bytes:
    return unescape(xml.decode("utf-8", "replace")).encode()
