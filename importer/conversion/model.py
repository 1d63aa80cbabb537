"""Defines what a reader of another format gives: sheets, rows, cells, and the facts beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from importer.settings import Limits

#: Number, text, boolean, error value, date or time in ISO 8601, formula that was never calculated.
CellKind = Literal["n", "s", "b", "e", "d", "f"]
#: Formats of other kinds than `.xlsx`.
OtherFormat = Literal["ods", "xls", "xlsb"]


class OtherCell(NamedTuple):
    """A cell that is not empty.

    Attributes:
        column: sheet column, 0-based.
        kind: what it holds.
        value: the exact value: digits of a number, `1` or `0` of a boolean.
        style: index of its number format in `OtherBook.formats`.
    """

    column: int
    kind: CellKind
    value: str
    style: int = 0


class OtherRow(NamedTuple):
    """A row with cells.

    Attributes:
        number: sheet row, 1-based.
        hidden: whether it is hidden or filtered out.
        cells: its cells, in order.
    """

    number: int
    hidden: bool
    cells: list[OtherCell]


class OtherSheet(NamedTuple):
    """A sheet of the workbook.

    Attributes:
        name: name on its tab.
        kind: `worksheet`, `chartsheet`, `macrosheet` or `dialogsheet`.
        visibility: `visible`, `hidden` or `veryHidden`.
    """

    name: str
    kind: str
    visibility: str


@dataclass
class Surroundings:
    """What a sheet has beside its cells; columns are known with the first row, merged ranges after the last.

    Attributes:
        hidden_columns: ranges of hidden columns, 0-based and inclusive.
        merges: merged ranges, `A1:B2`.
    """

    hidden_columns: list[tuple[int, int]] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)


class OtherBook(Protocol):
    """An opened workbook of another format.

    Attributes:
        sheets: its sheets, in the order of the tabs.
        formats: number formats, by the index that cells name; the first one is General.
        epoch_1904: whether days count from 1904.
        reader: what reads it, for the report.
    """

    sheets: list[OtherSheet]
    formats: list[str]
    epoch_1904: bool
    reader: str

    def rows(self, index: int, beside: Surroundings) -> Iterator[OtherRow]:
        """Yield the rows of a sheet that have cells, in order; fill in what is beside them."""


@dataclass(frozen=True)
class ConvertTask:
    """Write one sheet of a workbook as a plain package.

    Attributes:
        path: the workbook.
        form: its format.
        out: the package to write.
        sheet: name of the sheet; None: the first visible one with rows.
        limits: upper bounds on what it may cost.
        most_columns: most columns with cells in the first rows.
    """

    path: Path
    form: OtherFormat
    out: Path
    sheet: str | None
    limits: Limits
    most_columns: int


class Converted(NamedTuple):
    """What was done.

    Attributes:
        reader: what read the workbook.
        compared: number of cells that two readers read alike.
        ignored: number of cells that the second reader cannot give: error values.
    """

    reader: str
    compared: int
    ignored: int
