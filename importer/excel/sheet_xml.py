"""Extracts from a window's raw XML what the engine does not report: exact counts, uncalculated formulas, hidden rows.

The engine parses the cells. This module counts them independently, so that a cell lost by the engine is noticed, and
rewrites the few spellings that the engine cannot read. Element meanings: ECMA-376 part 1, 18.3.1.
"""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, NamedTuple

from .addresses import column_index
from .normalize_xml import decode_wide_escapes, preserve_spaces

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROW_OR_CELL = re.compile(rb"<row\b([^>]*?)(/?)>|<c\b([^>]*?)(?:/>|>(.*?)</c>)", re.DOTALL)
_ROW_NUMBER = re.compile(rb"""\br=["'](\d{1,7})["']""")
_REF = re.compile(rb"""\br=["']([A-Za-z]{1,3})(\d{1,7})["']""")
_TYPE = re.compile(rb"""\bt=["'](\w+)["']""")
_ROW_TAG = re.compile(rb"<row\b([^>]*)>")
_HIDDEN_NAME = b"hidden="
_HIDDEN = re.compile(rb"""\bhidden=["'](?:1|true)["']""")
_VALUE = re.compile(rb"<v\b[^>]*?(?:/>|>(.*?)</v>)", re.DOTALL)
_FORMULA = re.compile(rb"<f\b[^>]*?(?:/>|>(.*?)</f>)", re.DOTALL)
_PLAIN_CELL = re.compile(rb'<c r="([A-Z]+)[0-9]+"(?: s="[0-9]+")?(?: t="([a-zA-Z]+)")?[ />]')
_CELL_TAG = re.compile(rb"<c[\s/>]")
_UNCALCULATED = re.compile(
    rb"<c\b[^>]*>\s*<f\b(?:[^>]*/>|[^>]*>[^<]*</f>)\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>",
)
#: Error values that calamine knows; for any other value it refuses the whole sheet.
_KNOWN_ERRORS = {b"#DIV/0!", b"#N/A", b"#NAME?", b"#NULL!", b"#NUM!", b"#REF!", b"#VALUE!"}
_UNKNOWN_ERROR = re.compile(rb"<v>#(?!(?:DIV/0!|N/A|NAME\?|NULL!|NUM!|REF!|VALUE!)</v>)")
_ERROR_CELL = re.compile(
    rb"""(<c\b[^>]*\bt=["']e["'][^>]*>(?:\s*<f\b(?:[^>]*/>|[^>]*>[^<]*</f>))?\s*<v>)([^<]*)(</v>\s*</c>)"""
)
_ESCAPE = re.compile(rb"_x[0-9A-Fa-f]{4}_")
_ESCAPED_RESULT = re.compile(
    rb"""(<c\b[^>]*\bt=["'])str(["'][^>]*>)(?:\s*<f\b(?:[^>]*/>|[^>]*>[^<]*</f>))?\s*<v\b[^>]*>([^<]*_x[0-9A-Fa-f]{4}_[^<]*)</v>"""
)
_TEXT_TYPES = {b"s", b"str", b"inlineStr"}
Address = tuple[int, int]


class Cell(NamedTuple):
    """A `<c>` element: its sheet row (1-based), column (0-based), type attribute (`n` if absent) and inner XML."""

    row: int
    column: int
    type: bytes
    content: bytes

    @property
    def value(self) -> bytes | None:
        """The text of `<v>`, or None if there is no such element."""
        match = _VALUE.search(self.content)
        return (match[1] or b"") if match else None

    @property
    def has_value(self) -> bool:
        """Whether the cell is not empty."""
        if self.type == b"inlineStr" and b"<is" in self.content:
            return True
        value = self.value
        return value is not None and (bool(value) or self.type == b"str")

    @property
    def formula(self) -> str | None:
        """The formula with a leading `=`; only `=` for a shared formula without text; None if there is no formula."""
        match = _FORMULA.search(self.content)
        return "=" + unescape((match[1] or b"").decode("utf-8", "replace")) if match else None


def cells(rows: bytes, first_row: int) -> Iterator[Cell]:
    """Yield every cell of a window in document order; a row or cell without `r` follows its predecessor."""
    row, column = first_row - 1, -1
    for match in _ROW_OR_CELL.finditer(rows):
        if match[1] is not None:
            number = _ROW_NUMBER.search(match[1])
            row, column = (int(number[1]) if number else row + 1), -1
            continue
        attributes = match[3] or b""
        ref = _REF.search(attributes)
        column = column_index(ref[1].decode().upper()) if ref else column + 1
        kind = _TYPE.search(attributes)
        yield Cell(int(ref[2]) if ref else row, column, kind[1] if kind else b"n", match[4] or b"")


def _find_cells(pattern: re.Pattern[bytes], mark: bytes, rows: bytes, first_row: int) -> Iterator[Cell]:
    """Return the cells that contain `mark` and match `pattern`, a pattern of whole `<c>` elements.

    If one of these has no address, return all cells instead. Searching for the mark and stepping back to the start of
    the cell is ten times faster than trying the pattern on every cell.
    """
    found = []
    position = rows.find(mark)
    while position >= 0:
        match = pattern.match(rows, rows.rfind(b"<c", 0, position))
        if match:
            cell = _ROW_OR_CELL.match(match[0])
            ref = _REF.search(cell[3]) if cell and cell[3] else None
            if cell is None or ref is None:
                return cells(rows, first_row)
            kind = _TYPE.search(cell[3])
            found.append(
                Cell(int(ref[2]), column_index(ref[1].decode().upper()), kind[1] if kind else b"n", cell[4] or b"")
            )
        position = rows.find(mark, position + len(mark))
    return iter(found)


def count_values_exactly(rows: bytes, first_row: int) -> int:
    """Return the number of cells that have a value, checking each cell; one with several counts as many."""
    found = ((cell, cell.content.count(b"</v>") + cell.content.count(b"</is>")) for cell in cells(rows, first_row))
    return sum(cell.has_value if elements < 2 else elements for cell, elements in found)  # noqa: PLR2004 - several


def uncalculated_formulas(rows: bytes, first_row: int) -> dict[Address, str]:
    """Return the formulas without a cached result, by address.

    A formula that returned an empty text has `t="str"` and an empty `<v>`, which counts as a value.
    """
    found = _find_cells(_UNCALCULATED, b"<f", rows, first_row)
    return {(c.row, c.column): c.formula or "=" for c in found if c.formula is not None and not c.has_value}


def hidden_rows(rows: bytes, first_row: int) -> list[int]:
    """Return the hidden rows of a window in ascending order, including rows hidden by a filter."""
    found: list[int] = []
    position = rows.find(_HIDDEN_NAME)
    while position >= 0:
        tag = _ROW_TAG.match(rows, rows.rfind(b"<", 0, position))
        if tag is not None and tag.end() > position and _HIDDEN.search(tag[1]):
            number = _ROW_NUMBER.search(tag[1])
            if number is None:
                return _count_hidden_rows(rows, first_row)
            found.append(int(number[1]))
        position = rows.find(_HIDDEN_NAME, position + len(_HIDDEN_NAME))
    return found


def _count_hidden_rows(rows: bytes, first_row: int) -> list[int]:
    """Return what `hidden_rows` does for rows without numbers, which are those after their predecessors."""
    found, row = [], first_row - 1
    for match in _ROW_TAG.finditer(rows):
        number = _ROW_NUMBER.search(match[1])
        row = int(number[1]) if number else row + 1
        if _HIDDEN.search(match[1]):
            found.append(row)
    return found


def unknown_errors(rows: bytes, first_row: int) -> dict[Address, str]:
    """Return the error values that the engine does not know (`#SPILL!`, `#CALC!`…), by address."""
    if _UNKNOWN_ERROR.search(rows) is None:
        return {}
    return {
        (c.row, c.column): (c.value or b"").decode("utf-8", "replace")
        for c in _find_cells(_ERROR_CELL, b"<v>#", rows, first_row)
        if c.type == b"e" and (c.value or b"") not in _KNOWN_ERRORS and c.has_value
    }


def repair(rows: bytes) -> bytes:
    """Return `rows` with everything the engine would misread respelled; the same object if nothing had to change.

    - Error values that the engine does not know become `#VALUE!` (`unknown_errors` returns the true ones).
    - Texts that it would trim are marked to preserve spaces.
    - Formula results with `_x000D_` escapes, which it decodes only in strings, become inline strings.
    """
    if _UNKNOWN_ERROR.search(rows):
        rows = _ERROR_CELL.sub(lambda m: m[0] if m[2] in _KNOWN_ERRORS else m[1] + b"#VALUE!" + m[3], rows)
    if b"<is" in rows:
        rows = preserve_spaces(rows)
    if _ESCAPE.search(rows):
        rows = decode_wide_escapes(_ESCAPED_RESULT.sub(rb'\1inlineStr\2<is><t xml:space="preserve">\3</t></is>', rows))
    return rows


def text_columns(rows: bytes) -> set[int]:
    """Return the columns whose cells all have a text type in the XML; empty if some cells have an unusual spelling."""
    pairs = _PLAIN_CELL.findall(rows)
    if len(pairs) != len(_CELL_TAG.findall(rows)):
        return set()
    other = {letters for letters, kind in pairs if kind not in _TEXT_TYPES}
    return {column_index(letters.decode()) for letters, _ in set(pairs) if letters not in other}
