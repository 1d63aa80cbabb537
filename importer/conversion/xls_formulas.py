"""Finds the formulas of an .xls or .xlsb sheet that were never calculated: readers give their result as 0 or ''.

A cell of a formula always has a result in this format, so programs that cannot calculate write one that means nothing.
It is known by what the formula cannot give: a text where it multiplies, the number 0 where it joins texts.

Source: [MS-XLS] 2.4.127 (Formula), 2.5.133 (FormulaValue), 2.4.260 (ShrFmla), 2.5.198 (tokens of a formula); [MS-XLSB]
2.5.98 (tokens of its formulas).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from .xls_records import ARRAY, FORMULA, SHARED

if TYPE_CHECKING:
    from .xls_records import SheetRecords

_CELL, _FORMULA_START = struct.Struct("<HHH8sH"), 20
#: Bit of a formula that is calculated when the workbook is opened.
_ON_OPEN = 2
#: Results: the number 0, and an empty text.
_ZERO, _BLANK = bytes(8), b"\x03"
_BIFF8, BIFF12 = 80, 120
#: The record of who wrote a workbook, as only xlwt writes it, which calculates nothing.
_BY_XLWT = b"\x5c\x00\x70\x00" + b"None".ljust(0x70)
#: Sizes of tokens after their first byte, in BIFF8 and in BIFF5; those of 0x20 and above without their class.
_SIZES = {
    0x01: (4, 4), 0x02: (4, 4), **dict.fromkeys(range(0x03, 0x17), (0, 0)), 0x1C: (1, 1), 0x1D: (1, 1), 0x1E: (2, 2),
    0x1F: (8, 8), 0x20: (7, 7), 0x21: (2, 2), 0x22: (3, 3), 0x23: (4, 14), 0x24: (4, 3), 0x25: (8, 6), 0x26: (6, 6),
    0x27: (6, 6), 0x28: (6, 6), 0x29: (2, 2), 0x2A: (4, 3), 0x2B: (8, 6), 0x2C: (4, 3), 0x2D: (8, 6), 0x2E: (2, 2),
    0x2F: (2, 2), 0x39: (6, 24), 0x3A: (6, 17), 0x3B: (10, 20), 0x3C: (6, 17), 0x3D: (10, 20),
}  # fmt: skip
#: Those that have another size in BIFF12, where a row takes four bytes.
_SIZES_12 = {
    0x01: 4, 0x20: 14, 0x23: 4, 0x24: 6, 0x25: 12, 0x29: 2, 0x2A: 6, 0x2B: 12, 0x2C: 6, 0x2D: 12, 0x39: 6, 0x3A: 8,
    0x3B: 14, 0x3C: 8, 0x3D: 14,
}  # fmt: skip
#: Tokens of two bytes: natural-language references and names of pivot tables, all of one size, and in BIFF12 references
#: to columns of tables (`PtgList`).
_EXTENDED, _EXTENDED_SIZE, _TABLE_COLUMNS, _TABLE_COLUMNS_SIZE = 0x18, 5, 0x19, 13
_REFERS, _TEXT, _ATTRIBUTE, _FUNCTION, _FUNCTION_VARIABLE, _PARENTHESES = 0x01, 0x17, 0x19, 0x21, 0x22, 0x15
#: Flags of an attribute: it marks a volatile formula, holds jumps, is a sum.
_VOLATILE, _CHOOSE, _SUM = 0x01, 0x04, 0x10
#: What the last token of a formula gives (`n`umber, `s` text, `b`oolean), and what functions do, by their numbers.
_GIVES = {
    **dict.fromkeys((*range(0x03, 0x08), 0x13, 0x14, 0x1E, 0x1F), "n"), 0x08: "s", _TEXT: "s",
    **dict.fromkeys((*range(0x09, 0x0F), 0x1D), "b"),
}  # fmt: skip
_FUNCTIONS_GIVE = {
    **dict.fromkeys((
        0, 4, 5, 6, 7, 8, 9, 11, 12, *range(15, 28), 32, 33, 39, 46, *range(56, 60), *range(63, 69), *range(69, 75), 82,
        97, 98, 99, 124, 165, 169, 183, 184, 193, 194, 197, 212, 213, 216, 220, 221, 227, 228, 299, 321, 322, 325, 326,
        330, 337, 342, 343, 344, 345, 346, 347,
    ), "n"),
    **dict.fromkeys((13, 14, 30, 31, 48, 111, 112, 113, 114, 115, 116, 118, 119, 120, 162, 219, 336), "s"),
    **dict.fromkeys((2, 3, 34, 35, 36, 37, 38, 117, 126, 127, 128, 129, 190, 198), "b"),
}  # fmt: skip


class Formula(NamedTuple):
    """A cell of a formula.

    Attributes:
        place: row and column, 0-based.
        result: eight bytes as in BIFF8: a number, or of another kind.
        flags: its flags.
        tokens: its tokens, with their size of two bytes before them.
    """

    place: tuple[int, int]
    result: bytes
    flags: int
    tokens: bytes


#: Formulas that cells of ranges share: rows and columns, 0-based, and tokens.
SharedFormulas = list[tuple[range, range, bytes]]


def find_uncalculated(stream: bytes, records: SheetRecords, version: int) -> set[tuple[int, int]]:
    """Return row and column, 0-based, of the formulas of a sheet whose result was never calculated.

    Args:
        stream: the workbook's records.
        records: those of the sheet.
        version: version of the format, 50 to 80.
    """
    formulas, shared = _read(stream, records.formulas)
    if stream.find(_BY_XLWT) >= 0:  # `in` asks a mapped file for single bytes
        return {each.place for each in formulas if _is_blank(each)}
    return judge_results(formulas, shared, version)


def judge_results(formulas: list[Formula], shared: SharedFormulas, version: int) -> set[tuple[int, int]]:
    """Return row and column, 0-based, of the formulas of a sheet whose results mean nothing.

    Args:
        formulas: all formulas of the sheet.
        shared: those that cells share.
        version: version of the format, 50 to 120.
    """
    wrong_blank, on_open, found = False, [], set()
    for each in formulas:
        zero, blank = each.result == _ZERO, _is_blank(each)
        if not zero and not blank and not each.flags & _ON_OPEN:
            continue
        gives, volatile = _result_kind(_own_tokens(each, shared), version)
        if (zero and gives in {"s", "b"}) or (blank and gives in {"n", "b"}):
            found.add(each.place)
            wrong_blank |= blank
        elif each.flags & _ON_OPEN and not volatile:
            on_open.append((each.place, zero))
    if wrong_blank:  # what writes '' for a product writes it for all
        found |= {each.place for each in formulas if _is_blank(each)}
    if all(zero for _, zero in on_open):
        found |= {place for place, _ in on_open}
    return found


def _is_blank(formula: Formula) -> bool:
    return formula.result[6:] == b"\xff\xff" and formula.result[:1] == _BLANK


def _read(stream: bytes, records: list[tuple[int, int, int]]) -> tuple[list[Formula], SharedFormulas]:
    """Return the formulas of a sheet, and those that ranges of cells share, with their rows and columns."""
    formulas: list[Formula] = []
    shared: SharedFormulas = []
    for kind, at, size in records:
        if kind == FORMULA and size > _FORMULA_START:
            row, column, _, result, flags = _CELL.unpack_from(stream, at)
            formulas.append(Formula((row, column), result, flags, stream[at + _FORMULA_START : at + size]))
        elif kind in {SHARED, ARRAY} and size > (14 if kind == ARRAY else 10):
            top, bottom, left, right = struct.unpack_from("<HHBB", stream, at)
            tokens = stream[at + (12 if kind == ARRAY else 8) : at + size]
            shared.append((range(top, bottom + 1), range(left, right + 1), tokens))
    return formulas, shared


def _own_tokens(formula: Formula, shared: SharedFormulas) -> bytes:
    """Return the tokens of a formula, with their size before them, also if it is one that cells share."""
    if formula.tokens[2:3] != bytes([_REFERS]):
        return formula.tokens
    row, column = formula.place
    return next((tokens for rows, columns, tokens in shared if row in rows and column in columns), b"")


def _result_kind(formula: bytes, version: int) -> tuple[str, bool]:
    """Return what a formula gives, '' if that is not known, and whether it is volatile."""
    gives, volatile = "", False
    size = int.from_bytes(formula[:2], "little")
    tokens, at = formula[2 : 2 + size], 0
    while at < len(tokens):
        token, body = tokens[at], at + 1
        if token >= 0x20:  # noqa: PLR2004 - the first with a class: reference, value or array
            token = 0x20 | (token & 0x1F)
        step = _size(token, tokens[body : body + 3], version)
        if step is None:
            return "", volatile
        if token == _ATTRIBUTE:
            volatile |= bool(tokens[body] & _VOLATILE)
            gives = "n" if tokens[body] & _SUM else gives
        elif token in {_FUNCTION, _FUNCTION_VARIABLE}:
            number = int.from_bytes(tokens[body + step - 2 : body + step], "little")
            gives = _FUNCTIONS_GIVE.get(number & 0x7FFF, "")
        elif token != _PARENTHESES:
            gives = _GIVES.get(token, "")
        at = body + step
    return gives, volatile


def _size(token: int, body: bytes, version: int) -> int | None:
    """Return the size of a token after its first byte; None for one that is not known, or cut short."""
    if version >= BIFF12 and token == _TEXT and len(body) > 1:
        return 2 + 2 * int.from_bytes(body[:2], "little")
    if version >= BIFF12 and token in _SIZES_12:
        return _SIZES_12[token]
    if token == _EXTENDED and body:
        return _TABLE_COLUMNS_SIZE if body[0] == _TABLE_COLUMNS else _EXTENDED_SIZE
    if token == _TEXT and len(body) > 1:
        return 2 + body[0] * (2 if body[1] & 1 else 1) if version >= _BIFF8 else 1 + body[0]
    if token == _ATTRIBUTE and len(body) > 2:  # noqa: PLR2004 - a flag and a number
        return 3 + (2 * (int.from_bytes(body[1:3], "little") + 1) if body[0] & _CHOOSE else 0)
    sizes = _SIZES.get(token)
    return None if sizes is None or token in {_TEXT, _ATTRIBUTE} else sizes[version < _BIFF8]
