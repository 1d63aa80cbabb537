"""Random sheets for the property tests: what each cell means, and the XML that says so in one of several spellings."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from hypothesis import strategies as st
from support import rawbook

from importer.excel.addresses import column_letters

if TYPE_CHECKING:
    from pathlib import Path

VALUES = ("number", "text", "boolean", "datetime", "time", "duration")
PROBLEMS = ("error", "formula", "unreadable")
_DAY_MS = 86_400_000
_SPELLINGS = ("plain", "plain", "plain", "without r", "prefix", "indented", "single quotes")


@dataclass(frozen=True)
class Cell:
    """A cell: its kind, its value, and the way it is written.

    Attributes:
        kind: of `VALUES` or `PROBLEMS`.
        value: number, text…; the error value, the formula with its `=`; None where only the kind is certain.
        form: how it is stored (`shared`, `inline`…), or the serial number of a date or time.
        style: index of its format.
    """

    kind: str
    value: Any
    form: str = ""
    style: int = rawbook.GENERAL


@dataclass
class Sheet:
    """A sheet with its expected content.

    Attributes:
        header_row: 1-based.
        headers: texts by column (0-based).
        cells: data cells by (row, column).
        epoch_1904: whether dates count from 1904.
        spelling: of the XML.
    """

    header_row: int
    headers: dict[int, str]
    cells: dict[tuple[int, int], Cell]
    epoch_1904: bool = False
    spelling: str = "plain"
    strings: list[str] = field(default_factory=list)

    def write(self, path: Path) -> Path:
        """Write the sheet as a workbook."""
        self.strings = ["<t>never used</t>"]
        grid = {(self.header_row, c): Cell("text", text, "inline") for c, text in self.headers.items()} | self.cells
        numbers = sorted({r for r, _ in grid})
        rows = "".join(
            self._row(r, n, {c: cell for (row, c), cell in grid.items() if row == r}) for n, r in enumerate(numbers, 1)
        )
        properties = '<workbookPr date1904="1"/>' if self.epoch_1904 else ""
        strings = self.strings
        if self.spelling == "prefix":
            body = re.sub(r"<(/?)(\w)", r"<\1x:\2", f"<worksheet><sheetData>{rows}</sheetData></worksheet>")
            xml = body.replace("<x:worksheet>", f'<x:worksheet xmlns:x="{rawbook.MAIN}">', 1)
            return rawbook.write_rows(path, "", xml=xml, strings=strings, properties=properties)
        return rawbook.write_rows(path, rows, strings=strings, properties=properties)

    def _row(self, number: int, position: int, cells: dict[int, Cell]) -> str:
        columns = sorted(cells)
        plain = "".join(self._cell(f"{column_letters(c)}{number}", cells[c]) for c in columns)
        text = f'<row r="{number}">{plain}</row>'
        if self.spelling == "without r":
            if columns == list(range(len(columns))):
                text = re.sub(r'<c r="[A-Z]+\d+"', "<c", text)
            if position == number:
                text = re.sub(r'<row r="\d+"', "<row", text)
        if self.spelling == "single quotes":
            text = re.sub(r'(<c|<row) r="(\w+)"', r"\1 r='\2'", text)
        return (
            text.replace("<c ", "\n    <c ").replace("</row>", "\n  </row>\n") if self.spelling == "indented" else text
        )

    def _cell(self, ref: str, cell: Cell) -> str:
        match cell.kind:
            case "boolean":
                return rawbook.boolean(ref, value=cell.value)
            case "error":
                return rawbook.error(ref, cell.value)
            case "formula":
                return rawbook.formula(ref, cell.value[1:])
            case "text":
                place = f'r="{ref}"'
                return self._text(ref, cell).replace(place, f'{place} s="{cell.style}"' if cell.style else place, 1)
            case _:
                return rawbook.number(ref, cell.form, cell.style)

    def _text(self, ref: str, cell: Cell) -> str:
        text = escape(xstring(cell.value))
        # Leaving the attribute out is what some writers do; the text is the same one.
        space = ' xml:space="preserve"' if len(cell.value) % 2 else ""
        halves = (text[: len(text) // 2], text[len(text) // 2 :]) if text.isalnum() else (text, "")
        runs = "".join(f"<r><t{space}>{half}</t></r>" for half in halves)
        match cell.form:
            case "inline":
                return f'<c r="{ref}" t="inlineStr"><is><t{space}>{text}</t></is></c>'
            case "inline runs":
                return f'<c r="{ref}" t="inlineStr"><is>{runs}</is></c>'
            case "result":
                return f'<c r="{ref}" t="str"><f>A1&amp;""</f><v>{text}</v></c>'
            case "shared runs":
                self.strings.append(runs)
            case _:
                self.strings.append(f"<t{space}>{text}</t>")
        return rawbook.shared(ref, len(self.strings) - 1)

    @property
    def columns(self) -> list[int]:
        """Columns with a header or with data."""
        return sorted({*self.headers, *(c for _, c in self.cells)})

    @property
    def rows(self) -> list[int]:
        """Rows with data."""
        return sorted({r for r, _ in self.cells})

    @property
    def data_rows(self) -> set[int]:
        """Rows that hold more than empty texts: others look blank, and are no data."""
        return {r for (r, _), cell in self.cells.items() if cell.kind != "text" or cell.value != ""}

    def bad_rows(self) -> set[int]:
        """Rows with a cell that no table can hold: errors, uncalculated formulas, no value, or a NUL."""
        return {
            r
            for (r, _), cell in self.cells.items()
            if cell.kind in PROBLEMS or (cell.kind == "text" and "\0" in cell.value)
        }


def xstring(text: str) -> str:
    """A text in the escapes of ST_Xstring: what XML cannot hold, and what looks like an escape itself."""
    text = re.sub(r"_(?=x[0-9A-Fa-f]{4}_)", "_x005F_", text)
    return re.sub(r"[\0-\x08\x0b-\x1f\ufffe\uffff]", lambda m: f"_x{ord(m[0]):04X}_", text)


# ---- CELLS ------------------------------------------------------------------------------------------------------

_NUMBERS = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.1 + 0.2,
    1e-10,
    1e22,
    2.0**53,
    2.0**53 - 1,
    -(2.0**53),
    1e308,
    5e-324,
    2.2250738585072014e-308,
    1 / 3,
    12.7,
]
_TEXTS = [
    "",
    " ",
    "007",
    "1.5",
    "1e5",
    "=1+1",
    "TRUE",
    "true",
    "false",
    "True",
    "😀 emoji",
    "a\0b",
    "line\nbreak",
    "cr\r\nlf",
    "tab\there",
    " leading",
    "trailing ",
    "_x0041_",
    "_x005F_x0041_",
    "_x",
    "N/A",
    "NULL",
    "nan",
    "NaN",
    "#N/A",
    "inf",
    "2020-01-05",
    "12:30",
    "P1D",
    "a & b < c > 'd' \"e\"",
    "]]>",
    "<!-- x -->",
    "</row>",
    "')",
    'say "x")',
    "\\n",
    "é",
    "e\u0301",
    "\u00a0nbsp\u00a0",
    "\u2028",
    "\x01",
    "\ufffe",
]
_ERRORS = [
    "#DIV/0!",
    "#N/A",
    "#NAME?",
    "#NULL!",
    "#NUM!",
    "#REF!",
    "#VALUE!",
    "#SPILL!",
    "#CALC!",
    "#GETTING_DATA",
    "#FIELD!",
    "#BLOCKED!",
]
_UNREADABLE = [
    Cell("unreadable", None, "1e400"),
    Cell("unreadable", None, "NaN"),
    *[
        Cell("unreadable", None, form, style)
        for style in (rawbook.DATE, rawbook.CLOCK, rawbook.ELAPSED)
        for form in ("nan", "-Infinity", "1e300")
    ],
    Cell("unreadable", None, "-3.5", rawbook.STAMP),
    Cell("unreadable", None, "2958466", rawbook.DATE),
]
#: Numbers with more digits than the float that stands for them here.
_LONG = [
    Cell("number", float(digits), digits)
    for digits in ("9007199254740993", "-12345678901234567891", "0.1234567890123456789", "123456789012345.678")
]
_LEAP_DAY = Cell("unreadable", None, "60", rawbook.DATE)


def number_cell(value: float) -> Cell:
    form = (
        repr(int(value)) if value == int(value) and abs(value) < 2**53 and math.copysign(1, value) > 0 else repr(value)
    )
    return Cell("number", value, form)


def _serial(milliseconds: int) -> str:
    return repr(milliseconds / _DAY_MS) if milliseconds % _DAY_MS else str(milliseconds // _DAY_MS)


def date_cell(epoch_1904: bool, milliseconds: int) -> Cell:
    """The stamp at that many milliseconds behind the epoch's first whole day."""
    first = datetime(1904, 1, 2) if epoch_1904 else datetime(1900, 1, 1)
    stamp = first + timedelta(milliseconds=milliseconds)
    ahead = 0 if epoch_1904 or stamp < datetime(1900, 3, 1) else 1
    return Cell(
        "datetime",
        stamp,
        _serial(milliseconds + (1 + ahead) * _DAY_MS),
        rawbook.STAMP if milliseconds % 7 else rawbook.DATE,
    )


def time_cell(milliseconds: int) -> Cell:
    value = (datetime.min + timedelta(milliseconds=milliseconds)).time()
    return Cell("time", value, _serial(milliseconds), rawbook.CLOCK if milliseconds % 2 else rawbook.STAMP)


def duration_cell(milliseconds: int) -> Cell:
    return Cell("duration", timedelta(milliseconds=milliseconds), _serial(milliseconds), rawbook.ELAPSED)


def _texts() -> st.SearchStrategy[Cell]:
    characters = st.characters(exclude_categories=["Cs"])
    text = st.one_of(st.sampled_from(_TEXTS), st.text(characters, max_size=12), st.text("_x0aF5\0 \n", max_size=10))
    forms = st.sampled_from(["shared", "inline", "inline runs", "shared runs", "result"])
    styles = st.sampled_from([rawbook.GENERAL, rawbook.DATE, rawbook.ELAPSED])
    return st.builds(Cell, st.just("text"), text, forms, styles)


def kinds(epoch_1904: bool) -> dict[str, st.SearchStrategy[Cell]]:
    """A strategy for the cells of each kind."""
    floats = st.one_of(
        st.sampled_from(_NUMBERS), st.integers(-1000, 1000).map(float), st.floats(allow_nan=False, allow_infinity=False)
    )
    days = 2_957_001 if epoch_1904 else 2_958_463
    unreadable = _UNREADABLE if epoch_1904 else [*_UNREADABLE, _LEAP_DAY]
    whole_days = st.integers(0, days).map(lambda day: day * _DAY_MS)
    early = st.integers(0, 70 * _DAY_MS)
    clock = st.integers(0, _DAY_MS - 1)
    return {
        "number": st.one_of(floats.map(number_cell), st.sampled_from(_LONG)),
        "text": _texts(),
        "boolean": st.booleans().map(lambda value: Cell("boolean", value)),
        "date": whole_days.map(lambda ms: date_cell(epoch_1904, ms)),
        "datetime": st.one_of(whole_days, early, st.integers(0, (days + 1) * _DAY_MS - 1)).map(
            lambda ms: date_cell(epoch_1904, ms)
        ),
        "time": clock.map(time_cell),
        "duration": st.one_of(clock, st.integers(0, 10**12)).map(duration_cell),
        "error": st.sampled_from(_ERRORS).map(lambda text: Cell("error", text)),
        "formula": st.sampled_from(["=A1+1", '=B2&"x"', "=1<2"]).map(lambda text: Cell("formula", text)),
        "unreadable": st.sampled_from(unreadable),
    }


@st.composite
def sheets(draw: st.DrawFn, *, problems: bool = True) -> Sheet:
    """A sheet of up to 12 rows and 5 columns, at some offset, with blank rows, columns and cells."""
    epoch_1904 = draw(st.booleans())
    strategies = kinds(epoch_1904)
    names = [name for name in strategies if problems or name not in PROBLEMS]
    left, top = draw(st.sampled_from([0, 0, 1, 24, 700])), draw(st.sampled_from([1, 1, 2, 9, 500]))
    columns = draw(st.lists(st.integers(left, left + 7), min_size=1, max_size=5, unique=True))
    gaps = draw(st.lists(st.sampled_from([1, 1, 1, 1, 2, 3, 40]), max_size=12))
    rows = [top + sum(gaps[: n + 1]) for n in range(len(gaps))]
    headers = {c: f"h{c}" for c in columns if draw(st.integers(0, 5))}
    headers = headers or {columns[0]: "only"}
    cells: dict[tuple[int, int], Cell] = {}
    for column in columns:
        mixture = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
        cell = st.one_of(st.none(), *[strategies[name] for name in mixture])
        for row in rows:
            drawn = draw(cell)
            if drawn is not None:
                cells[row, column] = drawn
    return Sheet(top, headers, cells, epoch_1904, draw(st.sampled_from(_SPELLINGS)))
