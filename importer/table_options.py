"""Owns the options that say where the table is in its sheet, and parses and checks them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from .errors import UsageError

#: Last line of a text file that can be named.
MOST_LINES = 9_999_999_999
Footer = Literal["keep", "skip", "error"]
Merged = Literal["first", "fill"]


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Where the table is in its sheet, as far as somebody decided that; the rest is found."""

    #: Range of cells to read (`A4:H205`), or the defined name of one (`Prices`, `Sheet1!Prices`).
    range: str | None = None
    #: Name of an Excel table (list object) to read.
    excel_table: str | None = None
    #: What the cells of a merged range in the data hold besides the first: nothing, or (`fill`) the value of the first.
    merged: Merged = "first"
    #: First and last row of the header, 1-based; None: detect it.
    header_rows: tuple[int, int] | None = None
    #: What to do with totals and remarks below and between the data; None: leave out those that are certain.
    footer: Footer | None = None
    #: Last row that may be data, 1-based.
    last_row: int | None = None
    #: First and last data row, 1-based.
    rows: tuple[int, int] | None = None
    #: Whether the data ends before the first blank row.
    until_blank: bool = False
    #: Of each column of the contract or of the existing table, the labels that it may have: they tell which table of a
    #: sheet is meant, and which row is its header.
    wanted: tuple[tuple[str, ...], ...] = ()
    #: Who says that, for people.
    wanted_by: str = "the contract"

    def check_table(self) -> None:
        """Check these options.

        Raises:
            UsageError: a value is invalid.
        """
        if self.header_rows and not 0 <= self.header_rows[0] <= self.header_rows[1]:
            raise UsageError(
                f"header rows {self.header_rows} are not a range of sheet rows", choice="3 or 2-4; 0 for none"
            )
        if self.range is not None and self.excel_table is not None:
            raise UsageError("--range and --excel-table name two pieces of the workbook", choice="give one of them")
        if "" in {self.range, self.excel_table}:
            raise UsageError("--range and --excel-table take a range or a name", choice="A4:H205, Prices, tblOrders")
        if self.merged not in get_args(Merged):
            raise UsageError(f"merged cannot be {self.merged!r}", choice=" | ".join(get_args(Merged)))
        if self.footer not in {None, *get_args(Footer)}:
            raise UsageError(f"footer cannot be {self.footer!r}", choice=" | ".join(get_args(Footer)))
        if self.rows and not 0 < self.rows[0] <= self.rows[1]:
            raise UsageError(f"rows {self.rows[0]}-{self.rows[1]} are not a range of sheet rows", choice="5-205")
        if self.last_row is not None and self.last_row < 1:
            raise UsageError("--last-row takes a row of the sheet, 1 or more")


def parse_rows(text: str) -> tuple[int, int]:
    """Parse the first and last data row from `5-205`, or `5-` for all from row 5 on (1-based).

    Raises:
        UsageError: the text is no range of rows.
    """
    match = re.fullmatch(r"\s*(\d{1,10})\s*[-:]\s*(\d{1,10})?\s*", text)
    if not match:
        raise UsageError(f"--rows takes a range of rows, not {text!r}", choice="5-205, or 5- for all from row 5 on")
    return int(match[1]), int(match[2] or MOST_LINES)
